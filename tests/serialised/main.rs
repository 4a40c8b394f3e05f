//! Statistics, health, reports and reasons as JSON: for a route that shows them, and for a program that reads them.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use roomcast::{
    BackplaneState, Close, CloseCode, ConnId, DisconnectReason, Eviction, Hub, Limit, Local,
    ServerStats, ShutdownReport, Stats,
};
use serde::Serialize;
use serde_json::{Value, json};

/// The table of bounds, which names the counter of each.
const PAGE: &str = include_str!("../../src/docs/settings.md");

fn value(shown: &impl Serialize) -> Value {
    serde_json::to_value(shown).expect("the type has only plain values")
}

fn keys(shown: &impl Serialize) -> BTreeSet<String> {
    let Value::Object(fields) = value(shown) else { panic!("no object") };
    fields.into_iter().map(|(key, _)| key).collect()
}

/// The names of the fields of a struct whose fields are plain.
fn fields(shown: &impl std::fmt::Debug) -> BTreeSet<String> {
    let text = format!("{shown:#?}");
    let names = text.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
    names.map(|(name, _)| name.to_owned()).filter(|name| !name.starts_with(' ')).collect()
}

/// The counters that the last column of the table of bounds names, with those of the backplane.
fn documented() -> BTreeSet<String> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| ") && line.matches('|').count() == 6);
    let cells = rows.filter_map(|row| row.trim_matches('|').rsplit('|').next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    names
        .map(|name| name.trim_start_matches("BackplaneHealth::"))
        .filter(is_name)
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn each_counter_has_its_own_name_and_each_documented_one_is_there() {
    let hub = Hub::<u32>::builder().backplane(Local::new(), "serialised").build().unwrap();
    let health = hub.backplane_health().expect("the hub has a backplane");
    assert_eq!(keys(&hub.stats()), fields(&hub.stats()));
    assert_eq!(keys(&ServerStats::default()), fields(&ServerStats::default()));
    let renamed = |name: String| match &*name {
        "since" | "probe_round_trip" => format!("{name}_seconds"),
        _ => name,
    };
    assert_eq!(keys(&health), fields(&health).into_iter().map(renamed).collect());

    let documented = documented();
    assert!(documented.len() > 25, "{documented:?}");
    let all: BTreeSet<_> = [keys(&hub.stats()), keys(&ServerStats::default()), keys(&health)]
        .into_iter()
        .flatten()
        .collect();
    let missing: Vec<_> = documented.difference(&all).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn counters_are_deserialised_and_missing_counters_are_zero() {
    let hub = Hub::<u32>::new();
    hub.broadcast(&1).await.unwrap();
    let told = value(&hub.stats()).to_string();
    let stats: Stats = serde_json::from_str(&told).unwrap();
    assert_eq!(value(&stats), value(&hub.stats()));
    let stats: Stats =
        serde_json::from_value(json!({ "evicted_full": 3, "of_tomorrow": 1 })).unwrap();
    assert_eq!((stats.evictions(), stats.dropped()), (3, 0));
}

#[tokio::test]
async fn health_has_state_time_and_the_last_error() {
    let hub = Hub::<u32>::builder().backplane(Local::new(), "serialised").build().unwrap();
    let mut changes = hub.backplane_changes().expect("the hub has a backplane");
    while hub.backplane_health().unwrap().state != BackplaneState::Up {
        changes.next().await.expect("the hub is there");
    }
    let health = value(&hub.backplane_health());
    assert_eq!((&health["state"], &health["last_error"]), (&json!("up"), &Value::Null));
    assert!(health["since_seconds"].as_f64().unwrap() < 60.0, "{health}");
    let node = value(&hub.cluster().nodes()[0]);
    assert_eq!(
        node,
        json!({ "id": hub.node_id().to_string(), "connections": 0, "age_seconds": 0.0 })
    );
    let members = value(&hub.cluster().members("tea"));
    assert_eq!(members, json!({ "members": 0, "is_exact": true, "age_seconds": 0.0 }));
}

#[test]
fn shutdown_report_has_its_duration_in_seconds() {
    let mut report = ShutdownReport::default();
    report.took = Duration::from_millis(1_500);
    report.messages_lost = 2;
    let expected = json!({
        "connections": 0, "unfinished": 0, "cut": 0, "messages_lost": 2, "messages_unsent": 0, "took_seconds": 1.5,
    });
    assert_eq!(value(&report), expected);
}

#[test]
fn ids_serialise_as_text() {
    let id: ConnId = "000102030405060708090a0b0c0d0e0f-400".parse().unwrap();
    let told = json!("000102030405060708090a0b0c0d0e0f-400");
    assert_eq!(value(&id), told);
    assert_eq!(value(&id.node()), json!("000102030405060708090a0b0c0d0e0f"));
    assert_eq!(serde_json::from_value::<ConnId>(told).unwrap(), id);
    assert_eq!(
        serde_json::from_str::<ConnId>(r#""000102030405060708090a0b0c0d0e0f\u002d400""#).unwrap(),
        id
    );
    assert!(serde_json::from_value::<ConnId>(json!("400")).is_err());
}

#[test]
fn disconnect_reasons_serialise_with_their_kind() {
    let close = Close::new(CloseCode::POLICY, "spam");
    let told = json!({ "code": 1008, "reason": "spam" });
    assert_eq!(value(&close), told);
    assert_eq!(serde_json::from_value::<Close>(told.clone()).unwrap(), close);
    let slow = DisconnectReason::SlowClient { cause: Eviction::Stalled, messages: 2, bytes: 9 };
    for (reason, expected) in [
        (DisconnectReason::ClosedByServer(close), json!({ "closed_by_server": told })),
        (slow, json!({ "slow_client": { "cause": "stalled", "messages": 2, "bytes": 9 } })),
        (DisconnectReason::Idle, json!("idle")),
        (
            DisconnectReason::OverLimit(Limit::MessageBytes),
            json!({ "over_limit": "message_bytes" }),
        ),
        (
            DisconnectReason::Io(io::ErrorKind::UnexpectedEof),
            json!({ "io": "unexpected end of file" }),
        ),
    ] {
        assert_eq!(value(&reason), expected);
    }
}
