//! The page about metrics lists exactly the metrics that are recorded.

use std::collections::{BTreeMap, BTreeSet};

use metrics::Label;
use roomcast::{Hub, Local};

use crate::recorder::{Seen, kind_name};
use support::bind;

const PAGE: &str = include_str!("../../../src/docs/metrics.md");

/// A row of the table: type, unit, labels with their values, and meaning.
type Row = (String, String, BTreeSet<String>, String);

/// `| name | type | unit | labels | what |`
fn documented() -> BTreeMap<String, Row> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `roomcast_"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, unit, labels, about] = cells[..] else { panic!("not five cells: {line}") };
        let labels = labels.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (name.trim_matches('`').to_owned(), (kind.into(), unit.into(), labels, about.into()))
    };
    rows.map(row).collect()
}

#[tokio::test]
async fn recorded_metrics_and_documented_metrics_are_the_same() {
    let hub = Hub::<String>::builder().backplane(Local::new(), "names").build().expect("valid");
    let server = bind().await;
    let snapshot = Seen::snapshot(|| {
        hub.record_metrics();
        server.monitor().record_metrics();
    });
    let mut recorded: BTreeMap<String, Row> = BTreeMap::new();
    for (key, unit, about, _) in snapshot.into_vec() {
        let unit = unit.map_or("", |unit| unit.as_str());
        let about = about.map(|about| about.to_string()).unwrap_or_default();
        let row = || (kind_name(key.kind()).into(), unit.into(), BTreeSet::new(), about);
        let labels = &mut recorded.entry(key.key().name().into()).or_insert_with(row).2;
        for label in key.key().labels() {
            labels.insert(label.key().to_owned());
            labels.extend(reason(label));
        }
    }
    assert_eq!(recorded, documented());
}

/// A value of a label that the page must list.
fn reason(label: &Label) -> Option<String> {
    (label.key() == "reason").then(|| label.value().to_owned())
}

#[test]
fn metric_names_follow_the_conventions_of_prometheus() {
    for (name, (kind, unit, ..)) in documented() {
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        let base = name.trim_end_matches("_total");
        assert_eq!(base.ends_with("_bytes"), unit == "bytes", "{name}");
        assert_eq!(base.ends_with("_seconds"), unit == "seconds", "{name}");
    }
}
