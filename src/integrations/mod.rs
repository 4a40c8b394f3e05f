//! Other crates' ways to mount a hub. Outermost, thin, on the public API alone.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "tower")]
mod tower;

#[cfg(feature = "axum")]
pub use axum::HubUpgrade;
