//! Pings, and the closing of silent clients.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roomcast::{Close, Conn, DisconnectReason, Handler, Hub};
use tokio::sync::Notify;

use support::{Client, PING, PONG, Recorded, TEXT, eventually, frame, parse_close, serve};

/// A client is closed after two intervals of silence: the machine may stall for a second.
const INTERVAL: Duration = Duration::from_millis(500);

async fn pinging() -> Recorded<u32> {
    Recorded::serve(Hub::builder().shards(1).ping_interval(INTERVAL).build().unwrap()).await
}

#[tokio::test]
async fn client_that_answers_pings_stays() {
    let mut server = pinging().await;
    let (mut client, conn) = server.connect_raw().await;
    let began = Instant::now();
    for _ in 0..6 {
        assert_eq!(client.read_frame().await, Some((PING, vec![])));
        client.send(&frame(PONG, b"")).await;
    }
    assert!(began.elapsed() >= INTERVAL * 5, "pings come an interval apart");
    assert!(!conn.is_closed());
    assert!(server.hub.stats().pings >= 6);
    assert_eq!(server.hub.stats().closed_idle, 0);
}

#[tokio::test]
async fn silent_client_is_closed_after_two_intervals() {
    let mut server = pinging().await;
    let (mut client, conn) = server.connect_raw().await;
    let began = Instant::now();
    assert_eq!(client.read_frame().await, Some((PING, vec![])), "it was asked");
    let mut last = client.read_frame().await;
    while last == Some((PING, vec![])) {
        last = client.read_frame().await;
    }
    let (first, payload) = last.expect("a close frame comes");
    assert_eq!((first, parse_close(&payload)), (0x88, (1_001, "idle".to_owned())));
    assert!(began.elapsed() >= INTERVAL * 2, "{:?}", began.elapsed());
    let (ended, reason) = server.events.ended().await;
    assert_eq!((ended.id(), reason), (conn.id(), DisconnectReason::Idle));
    assert_eq!(server.hub.stats().closed_idle, 1);
    assert_eq!(server.hub.count(), 0);
}

#[tokio::test]
async fn any_received_byte_keeps_the_client_alive() {
    let mut server = pinging().await;
    let (mut client, conn) = server.connect_raw().await;
    // The client sends one byte of a message after each ping, and never a pong.
    let message = frame(TEXT, b"12");
    for byte in &message {
        assert_eq!(client.read_frame().await, Some((PING, vec![])));
        client.send(&[*byte]).await;
    }
    assert_eq!(server.events.message().await.1, 12);
    assert!(!conn.is_closed());
}

#[tokio::test]
async fn tungstenite_client_stays_while_the_application_reads_it() {
    let mut server = pinging().await;
    let (mut client, conn) = server.connect().await;
    let reader = tokio::spawn(async move { while client.next().await.is_some() {} });
    let hub = &server.hub;
    eventually("many pings", || hub.stats().pings >= 6).await;
    assert!(!conn.is_closed());
    reader.abort();
}

#[tokio::test]
async fn zero_interval_neither_pings_nor_closes() {
    let hub = Hub::<u32>::builder().ping_interval(Duration::ZERO).shards(1).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (mut client, conn) = server.connect_raw().await;
    // Another hub's pings show that much more than two intervals have passed.
    let mut other = pinging().await;
    let (_silent, _) = other.connect_raw().await;
    other.events.ended().await;
    server.hub.try_broadcast(&1).unwrap();
    assert_eq!(client.read_frame().await, Some((TEXT, b"1".to_vec())), "no ping came before");
    assert!(!conn.is_closed());
    assert_eq!(server.hub.stats().pings, 0);
}

#[tokio::test]
async fn silence_ends_one_connection_and_not_its_neighbours() {
    let mut server = pinging().await;
    let (_silent, silent) = server.connect_raw().await;
    let (mut alive, _) = server.connect().await;
    let (ended, reason) = loop {
        tokio::select! {
            ended = server.events.ended() => break ended,
            // The client answers pings while it reads.
            other = alive.next() => assert!(other.is_some_and(|message| message.is_ping())),
        }
    };
    assert_eq!((ended.id(), reason), (silent.id(), DisconnectReason::Idle));
    server.hub.try_broadcast(&1).unwrap();
    assert_eq!(alive.get::<u32>().await, 1);
}

/// A handler that answers each message when the test allows it.
struct Slow(Arc<Notify>);

impl Handler<u32> for Slow {
    async fn on_message(&self, conn: &Conn<u32>, message: u32) -> Result<(), Close> {
        self.0.notified().await;
        conn.try_send(&message).unwrap();
        Ok(())
    }
}

#[tokio::test]
async fn client_is_not_silent_while_its_handler_runs() {
    let hub = Hub::<u32>::builder().shards(1).ping_interval(INTERVAL).build().unwrap();
    let go_on = Arc::new(Notify::new());
    let server = serve(hub.handle(Slow(go_on.clone()))).await;
    let mut client = Client::connect(server.addr, "/ws").await;
    client.send_text("7").await;
    eventually("four pings", || hub.stats().pings >= 4).await;
    go_on.notify_one();
    assert_eq!(client.get::<u32>().await, 7);
    assert_eq!(hub.stats().closed_idle, 0);
}
