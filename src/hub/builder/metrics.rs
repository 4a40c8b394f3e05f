//! The settings for metrics.

use std::time::Duration;

use super::Builder;

/// # Metrics
/// Recorded with the feature `metrics`.
impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    /// How often the hub copies its counters to the recorder of the facade `metrics`. Default: 1 s;
    /// 10 ms to 1 day. Zero: only when [`Hub::record_metrics`](crate::Hub::record_metrics) is
    /// called.
    ///
    /// With an interval, the hub samples the latency of up to 50 publishes a second. With zero, it
    /// samples only the first publish after each call.
    pub fn metrics_interval(mut self, interval: Duration) -> Self {
        self.metrics_interval = interval;
        self
    }
}
