//! What the crate tells of itself, with the features `metrics` and `tracing`. It lies below all layers but
//! the engine, which knows nothing of it.
//!
//! Without a feature its types are empty and its functions do nothing, so that nobody who calls them needs
//! to ask.

mod events;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
mod throttle;

pub(crate) use events::events;
#[cfg(feature = "tracing")]
pub(crate) use events::panic_text;
pub(crate) use throttle::Throttle;
