//! Metrics and events of the crate, with the features `metrics` and `tracing`. All layers use this
//! module, except the engine, which does not know it.
//!
//! Without a feature its types are empty and its functions do nothing. So callers need no check of
//! the feature.

mod events;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
mod throttle;

pub(crate) use events::events;
#[cfg(feature = "tracing")]
pub(crate) use events::panic_text;
pub(crate) use throttle::Throttle;
