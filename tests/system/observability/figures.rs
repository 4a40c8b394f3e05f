//! The metrics count the activity of hubs, backplanes and servers, as a recorder of another crate receives them.

use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusBuilder;
use roomcast::{Hub, Local};

use crate::recorder::Seen;
use support::{Listening, RawClient, Recorded, TEXT, bind, eventually, frame};

/// A hub that does not record its metrics by itself.
fn hub() -> Hub<String> {
    let hub = Hub::<String>::builder().metrics_interval(Duration::ZERO);
    hub.shards(2).max_message_bytes(100).build().expect("valid settings")
}

#[tokio::test]
async fn metrics_of_a_hub_count_its_activity() {
    let mut served = Recorded::serve(hub()).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let (client, conn) = served.connect().await;
        conn.try_join("r").expect("joins");
        clients.push(client);
    }
    clients[0].send_text("\"one\"").await;
    clients[0].send_text("no JSON").await;
    served.events.undecodable().await;
    served.hub.try_to_room("r", &"to the room".to_owned()).expect("published");
    served.hub.try_broadcast(&"to all".to_owned()).expect("published");
    for client in &mut clients {
        assert_eq!(client.get_many::<String>(2).await, ["to the room", "to all"]);
    }
    clients[1].send_text("x".repeat(101)).await;
    served.events.ended().await;
    let (mut raw, _) = served.connect_raw().await;
    raw.send(&frame(TEXT | 0x40, b"a reserved bit")).await;
    served.events.ended().await;
    eventually("counted", || served.hub.stats().deliveries == 6).await;

    let seen = Seen::in_scope(|| served.hub.record_metrics());
    assert_eq!(seen.gauge("roomcast_connections"), 2.0);
    assert_eq!(seen.gauge("roomcast_rooms"), 1.0);
    assert_eq!(seen.gauge("roomcast_inbox_messages"), 0.0);
    assert_eq!(seen.counter("roomcast_connections_opened_total"), 4);
    assert_eq!(seen.counter("roomcast_connections_ended_total"), 2);
    assert_eq!(seen.counter_for("roomcast_connections_closed_total", "too_big"), 1);
    assert_eq!(seen.counter_for("roomcast_connections_closed_total", "protocol"), 1);
    assert_eq!(seen.counter("roomcast_received_messages_total"), 2);
    assert_eq!(seen.counter("roomcast_received_bytes_total"), "\"one\"no JSON".len() as u64);
    assert_eq!(seen.counter("roomcast_decode_errors_total"), 1);
    assert_eq!(seen.counter("roomcast_shard_messages_total"), 4, "two, in each of two shards");
    assert_eq!(seen.counter("roomcast_deliveries_total"), 6);
    assert_eq!(seen.counter("roomcast_writes_total"), served.hub.stats().writes);
    assert_eq!(seen.counter("roomcast_written_bytes_total"), served.hub.stats().bytes_out);
}

#[tokio::test]
async fn metrics_show_blocked_clients_and_their_evictions() {
    let hub = Hub::<String>::builder().metrics_interval(Duration::ZERO).send_buffer(2);
    let mut served = Recorded::serve_tight(hub.build().expect("valid settings")).await;
    let (_client, conn) = served.connect_tight().await;
    let message = "x".repeat(64 * 1024);
    eventually("the socket is blocked", || {
        conn.try_send(&message).expect("the connection is open");
        served.hub.stats().blocked == 1
    })
    .await;
    let seen = Seen::in_scope(|| served.hub.record_metrics());
    assert_eq!(seen.gauge("roomcast_blocked_connections"), 1.0);
    assert!(seen.gauge("roomcast_queued_bytes") > 0.0);
    eventually("evicted", || conn.try_send(&message).is_err()).await;
    served.events.ended().await;
    eventually("the socket is gone", || served.hub.stats().blocked == 0).await;
    let seen = Seen::in_scope(|| served.hub.record_metrics());
    assert_eq!(seen.counter_for("roomcast_evictions_total", "full"), 1);
    assert_eq!(seen.gauge("roomcast_queued_bytes"), 0.0);
    assert_eq!(seen.gauge("roomcast_connections"), 0.0);
}

#[tokio::test]
async fn first_publish_after_a_snapshot_is_sampled_up_to_its_last_write() {
    let mut served = Recorded::serve(hub()).await;
    let (mut client, conn) = served.connect().await;
    conn.try_join("r").expect("joins");
    let began = Instant::now();
    served.hub.try_to_room("r", &"nobody asks".to_owned()).expect("published");
    client.next_text().await;
    let seen = Seen::in_scope(|| served.hub.record_metrics());
    assert_eq!(seen.histogram("roomcast_delivery_latency_seconds"), [0.0; 0]);

    let texts = ["followed", "not followed"].map(str::to_owned);
    texts.iter().for_each(|text| served.hub.try_to_room("r", text).expect("published"));
    assert_eq!(client.get_many::<String>(2).await, texts);
    let mut latencies = Vec::new();
    let mut bursts = Vec::new();
    eventually("a sample", || {
        let seen = Seen::in_scope(|| served.hub.record_metrics());
        latencies.extend(seen.histogram("roomcast_delivery_latency_seconds"));
        bursts.extend(seen.histogram("roomcast_burst_messages"));
        !latencies.is_empty()
    })
    .await;
    assert_eq!(latencies.len(), 1);
    assert!(latencies[0] > 0.0 && latencies[0] < began.elapsed().as_secs_f64());
    assert_eq!(bursts, [2.0], "what came meanwhile went with it");
}

#[tokio::test]
async fn publish_to_nobody_is_not_sampled() {
    let served = Recorded::serve(hub()).await;
    served.hub.record_metrics();
    served.hub.try_broadcast(&"to all".to_owned()).expect("published");
    eventually("both shards have seen it", || served.hub.stats().shard_messages == 2).await;
    let seen = Seen::in_scope(|| served.hub.record_metrics());
    assert_eq!(seen.histogram("roomcast_delivery_latency_seconds"), [0.0; 0]);
    assert_eq!(seen.histogram("roomcast_burst_messages"), [0.0; 0]);
}

#[tokio::test]
async fn metrics_of_a_backplane_count_its_activity() {
    let bus = Local::new();
    let hub = || {
        let hub = Hub::<String>::builder().metrics_interval(Duration::ZERO);
        hub.backplane(bus.clone(), "figures").build().expect("valid settings")
    };
    let (here, there) = (hub(), hub());
    eventually("the nodes know each other", || {
        [&here, &there].iter().all(|hub| hub.cluster().nodes().len() == 2)
    })
    .await;
    here.try_broadcast(&"to all".to_owned()).expect("published");
    here.try_to_room("r", &"to a room".to_owned()).expect("published");
    eventually("both have come", || {
        there.backplane_health().is_some_and(|health| health.received == 2)
            && here.backplane_health().is_some_and(|health| health.published == 2)
    })
    .await;
    let seen = Seen::in_scope(|| here.record_metrics());
    assert_eq!(seen.gauge("roomcast_backplane_up"), 1.0);
    assert_eq!(seen.gauge("roomcast_backplane_nodes"), 2.0);
    assert_eq!(seen.counter("roomcast_backplane_published_total"), 2);
    assert_eq!(seen.counter("roomcast_backplane_received_total"), 0);
    let seen = Seen::in_scope(|| there.record_metrics());
    assert_eq!(seen.counter("roomcast_backplane_received_total"), 2);
    assert_eq!(seen.counter("roomcast_backplane_lost_total"), 0);
}

#[tokio::test]
async fn hub_without_a_backplane_records_no_backplane_metrics() {
    let seen = Seen::in_scope(|| hub().record_metrics());
    assert!(!seen.names().any(|name| name.contains("backplane")), "{seen:?}");
}

#[tokio::test]
async fn metrics_of_a_server_count_its_activity() {
    let server = bind().await;
    let monitor = server.monitor();
    let serving = Listening::run(server);
    let mut client = RawClient::open(serving.addr).await;
    client.send(b"no request\r\n\r\n").await;
    eventually("refused", || monitor.stats().malformed == 1).await;
    let seen = Seen::in_scope(|| monitor.record_metrics());
    assert_eq!(seen.counter("roomcast_server_accepted_total"), 1);
    assert_eq!(seen.counter_for("roomcast_server_rejections_total", "malformed"), 1);
    assert_eq!(seen.counter_for("roomcast_server_rejections_total", "full"), 0);
    assert_eq!(monitor.local_addr(), Some(serving.addr));
}

/// The only test with a global recorder, which is installed after the hub and the server start.
#[tokio::test]
async fn hub_and_server_record_metrics_periodically_until_they_end() {
    let hub = Hub::<String>::builder().name("by itself");
    let hub = hub.metrics_interval(Duration::from_millis(10)).build().expect("valid settings");
    let mut served = Recorded::serve(hub).await;
    let (client, _) = served.connect().await;
    let recorder = PrometheusBuilder::new().install_recorder().expect("there is no other");
    let value = |series: &str| {
        let text = recorder.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series).map(str::to_owned));
        line.map(|value| value.trim().parse::<f64>().expect("a number"))
    };

    eventually("samples are seen", || {
        served.hub.try_broadcast(&"again".to_owned()).expect("published");
        value("roomcast_delivery_latency_seconds_count{hub=\"by itself\"}") >= Some(3.0)
    })
    .await;
    assert_eq!(value("roomcast_connections{hub=\"by itself\"}"), Some(1.0));
    let accepted = format!("roomcast_server_accepted_total{{server=\"{}\"}}", served.server.addr);
    eventually("the server is seen", || value(&accepted) == Some(1.0)).await;

    drop((client, served));
    eventually("nothing is left of it", || {
        value("roomcast_connections{hub=\"by itself\"}") == Some(0.0)
    })
    .await;
    assert_eq!(value("roomcast_connections_opened_total{hub=\"by itself\"}"), Some(1.0));
}
