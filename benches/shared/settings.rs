//! The settings of criterion for all benchmark groups.

use std::time::Duration;

use criterion::Criterion;

/// Short measurements, because there are many groups; on a quiet machine the figures settle much sooner.
pub fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_200))
        .sample_size(30)
}
