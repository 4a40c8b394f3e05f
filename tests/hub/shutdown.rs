//! Graceful shutdown of a hub.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roomcast::{
    Close, CloseCode, Conn, DisconnectReason, Handler, Hub, PublishError, Shutdown, ShutdownReport,
};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use support::faulty::Faulty;
use support::{Client, RawClient, Recorded, eventually, serve, upgrade_request, within};

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn clients_get_what_was_sent_and_then_the_code_and_the_report_is_clean() {
    let mut server = Recorded::serve(Hub::<u32>::new()).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(server.connect().await);
    }
    server.hub.try_broadcast(&1).unwrap();
    let hub = server.hub.clone();
    let how = Shutdown::within(LONG).spread_over(Duration::ZERO).reason("bye");
    let shutdown = tokio::spawn(async move { hub.shutdown(how).await });
    for (client, _) in &mut clients {
        assert_eq!(client.get::<u32>().await, 1);
        assert_eq!(client.closed().await, (1_001, "bye".to_owned()));
        let DisconnectReason::HubClosed(told) = server.events.ended().await.1 else { panic!() };
        assert_eq!((told.code, &*told.reason), (CloseCode::GOING_AWAY, "bye"));
    }
    let report = within("it is over", shutdown).await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.connections, report.unfinished), (3, 0));
    assert!(report.took < LONG);
    let line = report.to_string();
    assert!(line.starts_with("3 connections closed in "), "{line}");
    assert!(line.ends_with("0 cut, 0 messages lost, 0 not sent to other nodes"), "{line}");
    assert!(matches!(server.hub.try_broadcast(&2), Err(PublishError::Closed)));
    assert!(server.hub.is_closed());
    within("nothing is left", server.hub.closed()).await;
}

#[tokio::test]
async fn restart_tells_each_client_when_to_come_back() {
    let mut server = Recorded::serve(Hub::<u32>::new()).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(server.connect().await.0);
    }
    let hub = server.hub.clone();
    let how = Shutdown::within(LONG)
        .spread_over(Duration::from_millis(50))
        .restart(Duration::from_secs(1)..=Duration::from_secs(9))
        .reason("new version");
    let shutdown = tokio::spawn(async move { hub.shutdown(how).await });
    let mut waits = Vec::new();
    for client in &mut clients {
        let (code, reason) = client.closed().await;
        assert_eq!(code, 1_012);
        let ms = reason.strip_prefix("new version retry-after-ms=").expect("a hint");
        waits.push(ms.parse::<u64>().expect("a number"));
    }
    assert!(waits.iter().all(|ms| (1_000..=9_000).contains(ms)), "{waits:?}");
    waits.dedup();
    assert_eq!(waits.len(), 8, "each its own: {waits:?}");
    assert!(within("it is over", shutdown).await.unwrap().is_clean());
}

/// A shutdown in progress: one of two clients is closed. Returns the other client.
async fn half_way() -> (Recorded<u32>, (Client, Conn<u32>), JoinHandle<ShutdownReport>) {
    let hub = Hub::<u32>::builder().shards(1).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let (one, other) = (server.connect().await, server.connect().await);
    let shutdown = tokio::spawn(async move { hub.shutdown(Shutdown::within(LONG)).await });
    let closed = server.events.ended().await.0.id();
    let (mut gone, left) = if closed == one.1.id() { (one, other) } else { (other, one) };
    assert_eq!(gone.0.closed().await, (1_001, "hub shut down".to_owned()));
    (server, left, shutdown)
}

#[tokio::test]
async fn while_closes_are_spread_new_clients_get_503_and_open_clients_are_served() {
    let (mut server, (mut client, conn), shutdown) = half_way().await;
    let mut refused = RawClient::open(server.server.addr).await;
    refused.send(upgrade_request("/ws").as_bytes()).await;
    let head = refused.read_head().await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 503 ") && head.contains("retry-after: "), "{head}");
    client.send_text("7").await;
    assert_eq!(server.events.message().await.1, 7);
    conn.try_send(&8).unwrap();
    server.hub.try_broadcast(&9).unwrap();
    assert_eq!(client.get_many::<u32>(2).await, [8, 9]);
    assert!(server.hub.is_closing() && !server.hub.is_closed());
    // No client is left, so the shutdown does not wait for the end of the window.
    drop(client);
    let report = within("it is over", shutdown).await.unwrap();
    assert!(report.is_clean() && report.took < LONG / 2, "{report}");
    assert_eq!(report.connections, 2);
}

#[tokio::test]
async fn close_replaces_a_shutdown_in_progress() {
    let (server, (mut client, _), shutdown) = half_way().await;
    server.hub.shutdown_now();
    assert_eq!(client.closed().await, (1_001, "hub closed".to_owned()));
    assert!(within("it is over", shutdown).await.unwrap().is_clean());
}

/// A handler whose `on_disconnect` waits until the test releases it.
struct Lingering(Arc<Semaphore>);

impl Handler<u32> for Lingering {
    async fn on_disconnect(&self, _: &Conn<u32>, _: &DisconnectReason) -> Result<(), Close> {
        self.0.acquire().await.expect("never closed").forget();
        Ok(())
    }
}

#[tokio::test]
async fn on_disconnect_is_awaited_and_reported_if_it_takes_too_long() {
    let hub = Hub::<u32>::new();
    let semaphore = Arc::new(Semaphore::new(0));
    let server = serve(hub.handle(Lingering(semaphore.clone()))).await;
    let mut client = Client::connect(server.addr, "/ws").await;
    let deadline = Duration::from_millis(200);
    let began = Instant::now();
    let shutdown = tokio::spawn({
        let hub = hub.clone();
        async move { hub.shutdown(deadline).await }
    });
    assert_eq!(client.closed().await.0, 1_001);
    let report = within("the deadline", shutdown).await.unwrap();
    assert!(began.elapsed() >= deadline);
    assert_eq!((report.connections, report.unfinished, report.cut), (1, 1, 0));
    assert!(!report.is_clean());
    semaphore.add_permits(1);
    within("it has returned", hub.closed()).await;
}

#[tokio::test]
async fn client_that_does_not_read_is_cut_at_the_deadline_and_what_it_loses_is_counted() {
    let hub = Hub::<String>::builder().write_timeout(LONG).build().unwrap();
    let mut server = Recorded::serve_tight(hub).await;
    let (mut client, conn) = server.connect_tight().await;
    let message = "x".repeat(200_000);
    for _ in 0..4 {
        conn.try_send(&message).unwrap();
    }
    let how = Shutdown::within(Duration::from_millis(300)).spread_over(Duration::ZERO);
    let report = within("the deadline", server.hub.shutdown(how)).await;
    assert_eq!((report.connections, report.unfinished, report.cut), (1, 1, 1));
    assert!(report.messages_lost >= 1, "{report}");
    assert_eq!(report.messages_lost, server.hub.stats().dropped_at_end);
    client.ended().await;
    within("nothing is left", server.hub.closed()).await;
}

#[tokio::test]
async fn shutdown_publishes_messages_that_wait_for_the_backplane() {
    let bus = Faulty::new();
    let node = || Hub::<u32>::builder().backplane(bus.clone(), "chat").build().unwrap();
    let mut other = Recorded::serve(node()).await;
    let (mut client, conn) = other.connect().await;
    conn.join_subscribed("r").await.unwrap();
    let hub = node();
    for n in 0..100 {
        hub.try_to_room("r", &n).unwrap();
    }
    let report = within("it is over", hub.shutdown(LONG)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(client.get_many::<u32>(100).await, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn shutdown_reports_messages_that_could_not_be_published() {
    let bus = Faulty::new();
    bus.set(|faults| &faults.is_away, true);
    let hub = Hub::<u32>::builder().backplane(bus.clone(), "chat").build().unwrap();
    for n in 0..7 {
        hub.try_broadcast(&n).unwrap();
    }
    let report = within("the deadline", hub.shutdown(Duration::from_millis(200))).await;
    assert_eq!((report.unfinished, report.messages_unsent), (0, 7), "{report}");
    assert!(!report.is_clean());
}

#[tokio::test]
async fn hub_that_is_dropped_without_a_shutdown_leaves_no_task() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    {
        let hub = Hub::<u32>::builder().shards(2).backplane(Faulty::new(), "chat").build().unwrap();
        let mut server = Recorded::serve(hub).await;
        let (client, conn) = server.connect().await;
        conn.join_subscribed("r").await.unwrap();
        // One client sends a request, and one client is silent.
        let mut asking = RawClient::open(server.server.addr).await;
        asking.send(&upgrade_request("/ws").as_bytes()[..20]).await;
        let silent = RawClient::open(server.server.addr).await;
        assert!(tasks() > before);
        drop((client, conn, asking, silent));
    }
    eventually("all tasks have ended", || tasks() == before).await;
}

#[tokio::test]
async fn shutdown_of_a_closed_hub_does_not_wait_for_its_deadline() {
    let mut server = Recorded::serve(Hub::<u32>::new()).await;
    let (mut client, _) = server.connect().await;
    server.hub.shutdown_now();
    let hub = server.hub.clone();
    let shutdown = tokio::spawn(async move { hub.shutdown(LONG).await });
    assert_eq!(client.closed().await, (1_001, "hub closed".to_owned()));
    let report = within("it is over", shutdown).await.unwrap();
    assert!(report.is_clean() && report.took < LONG / 2, "{report}");
}
