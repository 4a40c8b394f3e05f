//! How a hub is watched.

use std::time::Duration;

use super::Builder;

/// # Metrics
/// Recorded with the feature `metrics`.
impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    /// How often the hub copies what it counts to the recorder of the facade `metrics`. Default: 1 s; 10 ms
    /// to 1 day. Zero: only when [`Hub::record_metrics`](crate::Hub::record_metrics) is called.
    ///
    /// With an interval, up to 50 publishes a second are followed to their last write. Without one, it is
    /// the first after each call.
    pub fn metrics_interval(mut self, interval: Duration) -> Self {
        self.metrics_interval = interval;
        self
    }
}
