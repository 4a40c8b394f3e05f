//! What the crate tells of itself, where its features are on; below all layers but the engine, which
//! knows nothing of it.

#[cfg(feature = "metrics")]
pub(crate) mod metrics;
