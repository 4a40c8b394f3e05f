//! Metrics for the facade `metrics`.
//!
//! Each copy registers and describes the metrics that it writes. So a recorder may be installed at
//! any time.

use std::time::Duration;

use metrics::{Histogram, Label, Unit};
use tokio::time::MissedTickBehavior;

/// The default interval between two copies.
pub(crate) const COPY_INTERVAL: Duration = Duration::from_secs(1);

/// Calls `copy` once per interval, until it returns `false`.
pub(crate) async fn keep_copying(interval: Duration, mut copy: impl FnMut() -> bool) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !copy() {
            return;
        }
    }
}

/// A metric of a source `S`: its name, unit, description and values.
pub(crate) struct Metric<S: 'static>(
    pub(crate) &'static str,
    pub(crate) Unit,
    pub(crate) &'static str,
    pub(crate) Value<S>,
);

/// One counter of a metric that has several: the label `reason`, and the value.
type Reason<S> = (&'static str, fn(&S) -> u64);

/// The values of a metric, as functions of the source.
pub(crate) enum Value<S: 'static> {
    /// A value that rises and falls.
    Gauge(fn(&S) -> f64),
    /// A value that only grows.
    Counter(fn(&S) -> u64),
    /// Several counters, each with a label `reason`.
    ByReason(&'static [Reason<S>]),
}

#[cfg(test)]
impl<S> Metric<S> {
    /// Returns all values, as whole numbers.
    pub(crate) fn values(&self, source: &S) -> Vec<u64> {
        match &self.3 {
            Value::Gauge(value) => vec![value(source) as u64],
            Value::Counter(value) => vec![value(source)],
            Value::ByReason(values) => values.iter().map(|(_, value)| value(source)).collect(),
        }
    }
}

/// Writes the metrics of one hub or server, under its label.
pub(crate) struct Copyist {
    label: Label,
}

impl Copyist {
    /// Makes a copyist with the label `key` = `value`.
    pub(crate) fn of(key: &'static str, value: &str) -> Self {
        Self { label: Label::new(key, value.to_owned()) }
    }

    /// Copies all metrics of `source`.
    pub(crate) fn copy<S>(&self, metrics: &'static [Metric<S>], source: &S) {
        for &Metric(name, unit, about, ref value) in metrics {
            match value {
                Value::Gauge(value) => {
                    metrics::describe_gauge!(name, unit, about);
                    metrics::gauge!(name, self.labels()).set(value(source));
                }
                Value::Counter(value) => {
                    metrics::describe_counter!(name, unit, about);
                    metrics::counter!(name, self.labels()).absolute(value(source));
                }
                Value::ByReason(values) => {
                    metrics::describe_counter!(name, unit, about);
                    for (reason, value) in *values {
                        let mut labels = self.labels();
                        labels.push(Label::from_static_parts("reason", reason));
                        metrics::counter!(name, labels).absolute(value(source));
                    }
                }
            }
        }
    }

    /// Registers and describes a histogram.
    pub(crate) fn histogram(
        &self,
        name: &'static str,
        unit: Unit,
        about: &'static str,
    ) -> Histogram {
        metrics::describe_histogram!(name, unit, about);
        metrics::histogram!(name, self.labels())
    }

    /// Sets all gauges to zero. Called when the source is gone.
    pub(crate) fn clear<S>(&self, metrics: &'static [Metric<S>]) {
        for Metric(name, .., value) in metrics {
            if let Value::Gauge(_) = value {
                metrics::gauge!(*name, self.labels()).set(0.0);
            }
        }
    }

    fn labels(&self) -> Vec<Label> {
        vec![self.label.clone()]
    }
}
