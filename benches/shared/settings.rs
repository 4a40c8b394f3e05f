//! How all groups are measured.

use std::time::Duration;

use criterion::Criterion;

/// Short, for there are many; the figures of a quiet machine are steady long before.
pub fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_200))
        .sample_size(30)
}
