//! A recorder of another crate for the facade `metrics`, and the values that it has received.

use std::collections::BTreeMap;

use metrics::Label;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshot};
use metrics_util::{CompositeKey, MetricKind};

/// The values of one hub or server in a recorder, by name and reason.
#[derive(Debug)]
pub(crate) struct Seen(BTreeMap<(String, String), DebugValue>);

impl Seen {
    /// Runs `record`, and returns the values that it records.
    pub(crate) fn in_scope(record: impl FnOnce()) -> Self {
        let entry = |(key, _, _, value): (CompositeKey, _, _, DebugValue)| {
            let reason = key.key().labels().find(|label| label.key() == "reason");
            let reason = reason.map_or("", Label::value).to_owned();
            ((key.key().name().to_owned(), reason), value)
        };
        Self(Self::snapshot(record).into_vec().into_iter().map(entry).collect())
    }

    /// Runs `record`, and returns the recorder's own snapshot.
    pub(crate) fn snapshot(record: impl FnOnce()) -> Snapshot {
        let recorder = DebuggingRecorder::new();
        metrics::with_local_recorder(&recorder, record);
        recorder.snapshotter().snapshot()
    }

    fn value(&self, name: &str, reason: &str) -> Option<&DebugValue> {
        self.0.get(&(name.to_owned(), reason.to_owned()))
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.counter_for(name, "")
    }

    pub(crate) fn counter_for(&self, name: &str, reason: &str) -> u64 {
        match self.value(name, reason) {
            Some(DebugValue::Counter(value)) => *value,
            other => panic!("{name} of {reason:?} is no counter but {other:?}"),
        }
    }

    pub(crate) fn gauge(&self, name: &str) -> f64 {
        match self.value(name, "") {
            Some(DebugValue::Gauge(value)) => value.into_inner(),
            other => panic!("{name} is no gauge but {other:?}"),
        }
    }

    /// The recorded values; empty if the name is unknown.
    pub(crate) fn histogram(&self, name: &str) -> Vec<f64> {
        match self.value(name, "") {
            Some(DebugValue::Histogram(values)) => {
                values.iter().map(|it| it.into_inner()).collect()
            }
            None => Vec::new(),
            other => panic!("{name} is no histogram but {other:?}"),
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|(name, _)| name.as_str())
    }
}

/// The name of a kind of metric in the table of the documentation.
pub(crate) fn kind_name(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    }
}
