#![cfg_attr(
    all(feature = "json", feature = "server"),
    doc = "Guides: guarantees and limitations of a hub, and how to mount, deploy, scale and tune it."
)]
#![cfg_attr(
    not(all(feature = "json", feature = "server")),
    doc = "The architecture of the crate. The features `json` and `server` add more pages."
)]

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("cookbook.md")]
pub mod cookbook {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("examples.md")]
pub mod examples {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("mounting.md")]
pub mod mounting {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("deploying.md")]
pub mod deploying {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("browser.md")]
pub mod browser {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("close_codes.md")]
pub mod close_codes {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("calls.md")]
pub mod calls {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("requests.md")]
pub mod requests {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("delivery.md")]
pub mod delivery {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("state.md")]
pub mod state {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("slow_clients.md")]
pub mod slow_clients {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("back_pressure.md")]
pub mod back_pressure {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("scaling.md")]
pub mod scaling {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("settings.md")]
pub mod settings {}

#[cfg_attr(feature = "deflate", doc = include_str!("compression.md"))]
#[cfg_attr(not(feature = "deflate"), doc = "This page needs the feature `deflate`.")]
pub mod compression {}

// The package extra-examples compiles the programs of this page: one needs mimalloc.
#[cfg(all(feature = "json", feature = "server", not(doctest)))]
#[doc = include_str!("tuning.md")]
pub mod tuning {}

// Other pages link to the pages of features.
#[cfg_attr(feature = "metrics", doc = include_str!("metrics.md"))]
#[cfg_attr(not(feature = "metrics"), doc = "This page needs the feature `metrics`.")]
pub mod metrics {}

#[cfg_attr(feature = "tracing", doc = include_str!("tracing.md"))]
#[cfg_attr(not(feature = "tracing"), doc = "This page needs the feature `tracing`.")]
pub mod tracing {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("security.md")]
pub mod security {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("benchmarks.md")]
pub mod benchmarks {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("dependability.md")]
pub mod dependability {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("limitations.md")]
pub mod limitations {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("from_fibr_ws.md")]
pub mod from_fibr_ws {}

// The package extra-examples compiles the programs of this page: one needs the WebSockets of axum.
#[cfg(all(feature = "json", feature = "server", not(doctest)))]
#[doc = include_str!("from_tokio_broadcast.md")]
pub mod from_tokio_broadcast {}

#[cfg(all(feature = "json", feature = "server"))]
#[doc = include_str!("from_socketio.md")]
pub mod from_socketio {}
