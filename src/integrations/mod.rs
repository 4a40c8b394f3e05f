//! Integrations with axum and tower. They use only the public API.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "tower")]
mod tower;

#[cfg(feature = "axum")]
pub use axum::HubUpgrade;
