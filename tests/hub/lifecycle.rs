//! The begin and the end of connections and hubs, and the callbacks that report them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roomcast::{
    BuildError, Close, CloseCode, Conn, DisconnectReason, Handler, Hub, PublishError, Reject,
    SendError, Target, UpgradeRequest,
};
use socket2::SockRef;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_tungstenite::tungstenite::{Error, Message};

use support::{
    CLOSE, Client, Event, RawClient, Recorded, close_payload, eventually, frame, serve, within,
};

async fn recorded() -> Recorded<u32> {
    Recorded::serve(Hub::builder().shards(2).build().unwrap()).await
}

#[tokio::test]
async fn close_of_the_client_is_reported_with_its_code_and_reason() {
    let mut server = recorded().await;
    let (mut client, conn) = server.connect().await;
    client.close_with(4_001, "bye").await;
    let (ended, reason) = server.events.ended().await;
    assert_eq!(ended.id(), conn.id());
    let close = Close::new(CloseCode::from(4_001), "bye");
    assert_eq!(reason, DisconnectReason::ClosedByClient(close));
    assert_eq!(reason.to_string(), "closed by the client: 4001 (bye)");
    assert_eq!(client.closed().await, (4_001, "bye".to_owned()), "echoed");
    assert!(conn.is_closed());
}

#[tokio::test]
async fn close_without_a_code_is_reported_as_1005_and_answered_without_a_code() {
    let mut server = recorded().await;
    let (mut client, _) = server.connect_raw().await;
    client.send(&frame(CLOSE, &[])).await;
    let (_, reason) = server.events.ended().await;
    let close = Close::new(CloseCode::NO_STATUS, "");
    assert_eq!(reason, DisconnectReason::ClosedByClient(close));
    assert_eq!(client.closed().await, (1_005, String::new()));
}

#[tokio::test]
async fn close_of_the_server_comes_after_what_was_sent_before() {
    let mut server = recorded().await;
    let (mut client, conn) = server.connect().await;
    for message in 0..20 {
        conn.try_send(&message).unwrap();
    }
    conn.close();
    assert!(conn.is_closed());
    assert_eq!(client.get_many::<u32>(20).await, (0..20).collect::<Vec<_>>());
    assert_eq!(client.closed().await, (1_000, String::new()));
    let (_, reason) = server.events.ended().await;
    assert_eq!(reason, DisconnectReason::ClosedByServer(Close::normal()));
}

#[tokio::test]
async fn first_close_counts() {
    let mut server = recorded().await;
    let (mut client, conn) = server.connect().await;
    conn.close_with(CloseCode::RESTART, "come back");
    conn.close_with(CloseCode::NORMAL, "too late");
    conn.close();
    assert_eq!(client.closed().await, (1_012, "come back".to_owned()));
    let (_, reason) = server.events.ended().await;
    let close = Close::new(CloseCode::RESTART, "come back");
    assert_eq!(reason, DisconnectReason::ClosedByServer(close));
}

#[tokio::test]
async fn long_reason_is_cut_between_characters() {
    let mut server = recorded().await;
    let (mut client, conn) = server.connect().await;
    conn.close_with(CloseCode::NORMAL, "é".repeat(100));
    assert_eq!(client.closed().await, (1_000, "é".repeat(61)), "122 of 123 bytes");
}

#[tokio::test]
async fn invalid_close_code_is_left_out_of_the_close_frame() {
    let mut server = recorded().await;
    for code in [0, 999, 1_004, 1_005, 1_006, 1_015, 2_999, 5_000] {
        let (mut client, conn) = server.connect_raw().await;
        conn.close_with(CloseCode::from(code), "why");
        assert_eq!(client.closed().await, (1_005, String::new()), "{code}");
    }
}

#[tokio::test]
async fn sends_to_a_closed_connection_are_refused() {
    let mut server = recorded().await;
    let (mut client, conn) = server.connect().await;
    let encoded = server.hub.encode(&1).unwrap();
    conn.close();
    for when in ["closing", "closed"] {
        assert!(matches!(conn.try_send(&1), Err(SendError::Closed)), "{when}");
        assert!(matches!(conn.try_send_encoded(&encoded), Err(SendError::Closed)), "{when}");
        assert!(matches!(conn.send(&1).await, Err(SendError::Closed)), "{when}");
        if when == "closing" {
            assert_eq!(client.closed().await.0, 1_000);
            server.events.ended().await;
        }
    }
    assert_eq!(conn.try_send(&1).unwrap_err().to_string(), "connection closed");
}

#[tokio::test]
async fn messages_that_were_received_before_a_close_are_handled_first() {
    let mut server = recorded().await;
    let (mut client, _) = server.connect_raw().await;
    let mut bytes = Vec::new();
    for message in 0..10 {
        bytes.extend(frame(0x81, message.to_string().as_bytes()));
    }
    bytes.extend(frame(CLOSE, &close_payload(1_000, b"")));
    // The hub ignores the bytes after a close frame.
    bytes.extend(frame(0x81, b"99"));
    client.send(&bytes).await;
    for expected in 0..10 {
        assert_eq!(server.events.message().await.1, expected);
    }
    server.events.ended().await;
    assert!(server.events.pending().is_none());
}

#[tokio::test]
async fn end_without_a_close_frame_is_an_io_error() {
    let mut server = recorded().await;
    let (client, _) = server.connect_raw().await;
    drop(client);
    let (_, reason) = server.events.ended().await;
    assert_eq!(reason, DisconnectReason::Io(io::ErrorKind::UnexpectedEof));

    let (client, _) = server.connect_raw().await;
    SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let (_, reason) = server.events.ended().await;
    assert_eq!(reason, DisconnectReason::Io(io::ErrorKind::ConnectionReset));
    assert_eq!(server.hub.count(), 0);
}

#[tokio::test]
async fn half_a_frame_at_the_end_is_an_io_error() {
    let mut server = recorded().await;
    let (mut client, _) = server.connect_raw().await;
    client.send(&frame(0x81, b"12345")[..7]).await;
    drop(client);
    let (_, reason) = server.events.ended().await;
    assert_eq!(reason, DisconnectReason::Io(io::ErrorKind::UnexpectedEof));
    assert!(server.events.pending().is_none(), "no message of it");
}

#[tokio::test]
async fn on_disconnect_runs_once() {
    let mut server = recorded().await;
    let (mut client, conn) = server.connect().await;
    conn.close();
    client.close_with(1_000, "").await;
    drop(client);
    server.events.ended().await;
    server.hub.shutdown_now();
    within("the hub ends", server.hub.closed()).await;
    assert!(server.events.pending().is_none());
}

/// A handler that rejects with a code.
struct Rejecting(mpsc::UnboundedSender<DisconnectReason>);

impl Handler<u32> for Rejecting {
    async fn on_connect(&self, conn: &Conn<u32>) -> Result<(), Close> {
        let _ = conn.try_send(&1);
        Err(Close::new(CloseCode::POLICY, "members only"))
    }

    async fn on_message(&self, _: &Conn<u32>, _: u32) -> Result<(), Close> {
        panic!("a rejected connection is not served");
    }

    async fn on_disconnect(&self, _: &Conn<u32>, reason: &DisconnectReason) -> Result<(), Close> {
        let _ = self.0.send(reason.clone());
        Ok(())
    }
}

#[tokio::test]
async fn rejection_in_on_connect_closes_with_its_code() {
    let hub = Hub::<u32>::new();
    let (sender, mut ends) = mpsc::unbounded_channel();
    let server = serve(hub.handle(Rejecting(sender))).await;
    let mut client = Client::connect(server.addr, "/ws").await;
    client.send_text("5").await;
    assert_eq!(client.get::<u32>().await, 1, "sent before it was rejected");
    assert_eq!(client.closed().await, (1_008, "members only".to_owned()));
    let reason = within("on_disconnect", ends.recv()).await.unwrap();
    let close = Close::new(CloseCode::POLICY, "members only");
    assert_eq!(reason, DisconnectReason::ClosedByServer(close));
    assert_eq!(hub.count(), 0);
    assert_eq!(hub.stats().handler_panics, 0);
}

/// A handler that joins a room whose name is too long.
struct Overreaching;

impl Handler<u32> for Overreaching {
    async fn on_connect(&self, conn: &Conn<u32>) -> Result<(), Close> {
        Ok(conn.try_join(&"n".repeat(256))?)
    }
}

#[tokio::test]
async fn failed_join_can_reject_a_connection() {
    let hub = Hub::<u32>::new();
    let server = serve(hub.handle(Overreaching)).await;
    let mut client = Client::connect(server.addr, "/ws").await;
    let (code, reason) = client.closed().await;
    assert_eq!(code, 1_008);
    assert_eq!(reason, "room name too long: 256 of at most 255 bytes");
}

/// A handler that takes a permit for each message, and for the end.
struct Gated(Arc<Semaphore>, mpsc::UnboundedSender<u32>);

impl Handler<u32> for Gated {
    async fn on_message(&self, _: &Conn<u32>, message: u32) -> Result<(), Close> {
        let _ = self.1.send(message);
        self.0.acquire().await.unwrap().forget();
        Ok(())
    }

    async fn on_disconnect(&self, _: &Conn<u32>, _: &DisconnectReason) -> Result<(), Close> {
        self.0.acquire().await.unwrap().forget();
        Ok(())
    }
}

#[tokio::test]
async fn callbacks_of_one_connection_run_in_sequence_and_do_not_delay_other_connections() {
    let hub = Hub::<u32>::new();
    let gate = Arc::new(Semaphore::new(0));
    let (sender, mut handled) = mpsc::unbounded_channel();
    let server = serve(hub.handle(Gated(gate.clone(), sender))).await;
    let mut a = Client::connect(server.addr, "/ws").await;
    let mut b = Client::connect(server.addr, "/ws").await;
    a.send_text("1").await;
    a.send_text("2").await;
    assert_eq!(within("a's first", handled.recv()).await, Some(1));
    b.send_text("3").await;
    assert_eq!(within("b's, while a's is handled", handled.recv()).await, Some(3));
    assert!(handled.try_recv().is_err(), "a's second has to wait");
    hub.try_broadcast(&9).unwrap();
    assert_eq!(a.get::<u32>().await, 9, "a message to this connection does not wait");
    gate.add_permits(2);
    assert_eq!(within("a's second", handled.recv()).await, Some(2));
    gate.add_permits(10);
}

#[tokio::test]
async fn closed_hub_sends_close_frames_and_refuses_later_calls() {
    let mut server = recorded().await;
    let hub = server.hub.clone();
    let mut members = Vec::new();
    for _ in 0..5 {
        members.push(server.connect().await);
    }
    members[0].1.try_join("r").unwrap();
    hub.try_broadcast(&1).unwrap();
    assert!(!hub.is_closed());
    hub.shutdown_now();
    hub.shutdown_now();
    assert!(hub.is_closed());
    for refused in [
        hub.try_broadcast(&2),
        hub.try_to_room("r", &2),
        hub.try_publish(&Target::conn(members[0].1.id()), &2),
        hub.broadcast(&2).await,
        hub.try_publish_encoded(&Target::everyone(), &hub.encode(&2).unwrap()),
    ] {
        assert!(matches!(refused, Err(PublishError::Closed)), "{refused:?}");
    }
    for (client, conn) in &mut members {
        assert_eq!(client.get::<u32>().await, 1, "earlier messages still arrive");
        assert_eq!(client.closed().await, (1_001, "hub closed".to_owned()));
        assert!(conn.try_join("r").is_err());
        assert!(matches!(conn.try_send(&3), Err(SendError::Closed)));
        let told = Close::new(CloseCode::GOING_AWAY, "hub closed");
        assert_eq!(server.events.ended().await.1, DisconnectReason::HubClosed(told));
    }
    within("all have ended", hub.closed()).await;
    assert_eq!(hub.count(), 0);
    assert!(hub.rooms().await.is_empty());
    assert!(hub.members("r").await.is_empty());
    let refused = Client::try_connect(server.server.addr, "/ws").await;
    let Err(Error::Http(response)) = refused.map(drop) else { panic!("the hub is closed") };
    assert_eq!(response.status(), 503);
}

#[tokio::test]
async fn sends_by_a_handler_after_the_hub_is_closed_are_refused() {
    let mut server = recorded().await;
    let (_client, conn) = server.connect().await;
    server.hub.shutdown_now();
    // The shard has not run yet, so the connection does not know of the close.
    assert!(conn.try_send(&1).is_err());
}

#[tokio::test]
async fn closed_waits_for_the_last_on_disconnect() {
    let hub = Hub::<u32>::new();
    let gate = Arc::new(Semaphore::new(0));
    let (sender, _handled) = mpsc::unbounded_channel();
    let server = serve(hub.handle(Gated(gate.clone(), sender))).await;
    let mut clients =
        [Client::connect(server.addr, "/ws").await, Client::connect(server.addr, "/ws").await];
    eventually("both count", || hub.count() == 2).await;
    let mut closed = Box::pin(hub.closed());
    assert!(futures_util::poll!(&mut closed).is_pending(), "not closed at all");
    hub.shutdown_now();
    for client in &mut clients {
        assert_eq!(client.closed().await.0, 1_001);
    }
    eventually("none counts", || hub.count() == 0).await;
    assert!(futures_util::poll!(&mut closed).is_pending(), "the handlers are not done");
    gate.add_permits(1);
    eventually("one is done", || gate.available_permits() == 0).await;
    assert!(futures_util::poll!(&mut closed).is_pending(), "one handler is not done");
    gate.add_permits(1);
    within("both are done", closed).await;
}

#[tokio::test]
async fn closed_of_an_empty_hub_is_ready_once_it_is_closed() {
    let hub = Hub::<u32>::new();
    let waiting = tokio::spawn({
        let hub = hub.clone();
        async move { hub.closed().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    hub.shutdown_now();
    within("a waiter is woken by the close", waiting).await.unwrap();
    within("a later wait ends at once", hub.closed()).await;
}

#[tokio::test]
async fn stats_count_what_happens() {
    let mut server = recorded().await;
    let (mut a, _) = server.connect().await;
    let (mut b, conn) = server.connect().await;
    conn.try_join("r").unwrap();
    a.send_text("12345").await;
    server.events.message().await;
    a.send_text("no number").await;
    server.events.undecodable().await;
    server.hub.try_broadcast(&1).unwrap();
    server.hub.try_to_room("r", &2).unwrap();
    assert_eq!(a.get::<u32>().await, 1);
    assert_eq!(b.get_many::<u32>(2).await, [1, 2]);
    let stats = server.hub.stats();
    assert_eq!((stats.connections, stats.connected, stats.disconnected), (2, 2, 0));
    assert_eq!(stats.rooms, 1);
    assert_eq!((stats.messages_in, stats.bytes_in), (2, 14));
    assert_eq!(stats.decode_errors, 1);
    assert_eq!(stats.shard_messages, 3, "a broadcast to two shards and a message to one");
    assert_eq!((stats.deliveries, stats.bytes_out), (3, 9));
    assert_eq!((stats.evictions(), stats.dropped(), stats.inbox_refusals), (0, 0, 0));
    a.close_with(1_000, "").await;
    server.events.ended().await;
    let stats = server.hub.stats();
    assert_eq!((stats.connections, stats.connected, stats.disconnected), (1, 2, 1));
}

#[test]
fn hub_cannot_be_built_outside_of_a_runtime() {
    let error = Hub::<u32>::builder().build().unwrap_err();
    assert_eq!(error, BuildError::NoRuntime);
    assert_eq!(error.to_string(), "no tokio runtime: build the hub inside of one");
}

#[tokio::test]
async fn settings_out_of_range_are_named() {
    let builder = Hub::<u32>::builder;
    let day = Duration::from_secs(24 * 60 * 60);
    let cases = [
        (builder().shards(0), "shards", "0"),
        (builder().shards(1_025), "shards", "1025"),
        (builder().send_buffer(0), "send_buffer", "0"),
        (builder().send_buffer(65_537), "send_buffer", "65537"),
        (builder().send_buffer_bytes(0), "send_buffer_bytes", "0"),
        (builder().max_message_bytes(0), "max_message_bytes", "0"),
        (builder().inbox_messages(1), "inbox_messages", "1"),
        (builder().inbox_bytes(0), "inbox_bytes", "0"),
        (builder().message_rate(0, 9), "message_rate", "0"),
        (builder().byte_rate(9, 0), "byte_rate", "0"),
        (builder().connection_rate_per_addr(0, 9), "connection_rate_per_addr", "0"),
        (builder().write_timeout(Duration::ZERO), "write_timeout", "0ns"),
        (builder().write_timeout(day + Duration::from_secs(1)), "write_timeout", "86401s"),
        (builder().ping_interval(Duration::from_micros(9_999)), "ping_interval", "9.999ms"),
        (builder().ping_interval(day + Duration::from_secs(1)), "ping_interval", "86401s"),
    ];
    for (builder, name, bad) in cases {
        let Err(BuildError::OutOfRange { setting, value, .. }) = builder.build() else {
            panic!("{name} of {bad} is out of range")
        };
        assert_eq!((setting, &*value), (name, bad));
    }
    let hub = builder().ping_interval(day).write_timeout(day);
    hub.build().unwrap();
    let hub = builder().shards(1_024).send_buffer(65_536).send_buffer_bytes(1);
    hub.max_message_bytes(1).inbox_messages(2).inbox_bytes(1).build().unwrap();
    let error = builder().shards(0).build().unwrap_err();
    assert_eq!(error.to_string(), "shards is 0, out of 1 to 1,024");
}

#[tokio::test]
async fn closures_make_a_handler() {
    let hub = Hub::<u32>::new();
    let (told, mut events) = mpsc::unbounded_channel();
    let handlers = hub
        .handlers()
        .with_state(told)
        .on_upgrade(async |told, mut request| {
            request.insert(7_u8);
            told.send("upgrade".to_owned()).map_err(|_| roomcast::StatusCode::GONE)?;
            Ok(request)
        })
        .on_connect(async |told, conn| {
            told.send(format!("connect {:?}", conn.get::<u8>())).expect("the test listens");
            conn.join("r").await?;
            Ok(())
        })
        .on_message(async |told, conn, number| {
            told.send(format!("message {number}")).expect("the test listens");
            conn.hub().to_room("r", &(number + 1)).await?;
            Ok(())
        })
        .on_decode_error(async |told, _, error| {
            told.send("decode error".to_owned()).expect("the test listens");
            assert!(error.to_string().starts_with("message not decodable"));
        })
        .on_disconnect(async |told, _, reason| {
            told.send(reason.to_string()).expect("the test listens");
        });
    let server = serve(hub.handle(handlers)).await;
    let mut client = Client::connect(server.addr, "/ws").await;
    client.send_text("1").await;
    assert_eq!(client.get::<u32>().await, 2);
    client.send_text("?").await;
    client.send_text("2").await;
    assert_eq!(client.get::<u32>().await, 3);
    client.close_with(1_000, "done").await;
    for expected in [
        "upgrade",
        "connect 7",
        "message 1",
        "decode error",
        "message 2",
        "closed by the client: 1000 (done)",
    ] {
        assert_eq!(within(expected, events.recv()).await.as_deref(), Some(expected));
    }
}

/// A handler with all default callbacks.
struct Idle;

impl Handler<u32> for Idle {}

#[tokio::test]
async fn handler_with_default_callbacks_accepts_connections_and_messages() {
    let hub = Hub::<u32>::new();
    let server = serve(hub.handle(Arc::new(Idle))).await;
    let mut client = Client::connect(server.addr, "/ws").await;
    client.send_text("1").await;
    client.send_text("no number").await;
    client.send(Message::Ping("p".into())).await;
    assert_eq!(client.next().await, Some(Message::Pong("p".into())), "after what came before");
    assert_eq!(hub.stats().messages_in, 2);
    client.close_with(1_000, "").await;
    assert_eq!(client.closed().await.0, 1_000);
    eventually("it is gone", || hub.count() == 0).await;
}

#[tokio::test]
async fn hub_lives_as_long_as_a_handle_endpoint_or_connection() {
    let mut server = recorded().await;
    let (mut client, conn) = server.connect().await;
    let Recorded { hub, server: listening, events: _events } = server;
    drop((hub, listening));
    conn.hub().try_broadcast(&1).unwrap();
    assert_eq!(client.get::<u32>().await, 1);
    drop(conn);
    client.send(Message::Ping("still".into())).await;
    assert_eq!(client.next().await, Some(Message::Pong("still".into())));
}

/// A handler that counts ends.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Handler<u32> for Counting {
    async fn on_connect(&self, conn: &Conn<u32>) -> Result<(), Close> {
        Ok(conn.try_join("r")?)
    }

    async fn on_message(&self, conn: &Conn<u32>, message: u32) -> Result<(), Close> {
        conn.hub().to_room("r", &message).await.unwrap();
        Ok(())
    }

    async fn on_disconnect(&self, _: &Conn<u32>, _: &DisconnectReason) -> Result<(), Close> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mass_disconnect_does_not_delay_a_new_client() {
    const CLIENTS: usize = 500;
    let hub = Hub::<u32>::builder().shards(2).build().unwrap();
    let handler = Arc::new(Counting::default());
    let server = serve(hub.handle(handler.clone())).await;
    let mut crowd = Vec::new();
    for _ in 0..CLIENTS {
        crowd.push(RawClient::connect(server.addr).await);
    }
    eventually("all are in", || hub.member_count("r") == CLIENTS).await;
    drop(crowd);
    let chat = async {
        let mut client = Client::connect(server.addr, "/ws").await;
        for message in 0..100 {
            client.send_text(message.to_string()).await;
            assert_eq!(client.get::<u32>().await, message);
        }
        client
    };
    let _client = tokio::time::timeout(Duration::from_secs(3), chat).await.expect("no one waits");
    eventually("the crowd is gone", || handler.0.load(Ordering::Relaxed) == CLIENTS).await;
    assert_eq!((hub.count(), hub.member_count("r")), (1, 1));
    assert_eq!(hub.stats().disconnected, CLIENTS as u64);
}

#[tokio::test]
async fn events_of_a_connection_come_in_their_order() {
    let mut server = recorded().await;
    let (mut client, _) = server.connect().await;
    client.send_text("1").await;
    client.send_text("x").await;
    client.close_with(1_000, "").await;
    let (_, reason) = server.events.ended().await;
    assert!(matches!(reason, DisconnectReason::ClosedByClient(_)));
    assert!(matches!(server.events.pending(), Some(Event::Message(_, 1))));
    assert!(matches!(server.events.pending(), Some(Event::Undecodable(..))));
    assert!(server.events.pending().is_none());
}

/// A handler that panics in the call itself, before it returns a future.
struct PanicsAtTheCall;

impl Handler<u32> for PanicsAtTheCall {
    fn on_disconnect(
        &self,
        _: &Conn<u32>,
        _: &DisconnectReason,
    ) -> impl Future<Output = Result<(), Close>> + Send {
        if true {
            panic!("on purpose");
        }
        async { Ok(()) }
    }
}

#[tokio::test]
async fn panic_in_the_call_of_on_disconnect_is_counted_and_releases_the_socket() {
    let hub = Hub::<u32>::new();
    let server = serve(hub.handle(PanicsAtTheCall)).await;
    let mut client = RawClient::connect(server.addr).await;
    hub.shutdown_now();
    within("the session ends all the same", hub.closed()).await;
    assert_eq!(hub.stats().handler_panics, 1);
    assert!(matches!(client.read_frame().await, Some((0x88, _))));
    assert_eq!(client.read_frame().await, None);
}

/// A handler that accepts when the test allows it.
struct AcceptsLater {
    asked: Arc<Notify>,
    accept: Arc<Notify>,
}

impl Handler<u32> for AcceptsLater {
    async fn on_upgrade(&self, _: &mut UpgradeRequest) -> Result<(), Reject> {
        self.asked.notify_one();
        self.accept.notified().await;
        Ok(())
    }

    async fn on_connect(&self, _: &Conn<u32>) -> Result<(), Close> {
        panic!("the hub is closed by then");
    }
}

#[tokio::test]
async fn closed_waits_for_upgrades_in_progress_and_refuses_them() {
    let hub = Hub::<u32>::new();
    let (asked, accept) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = AcceptsLater { asked: asked.clone(), accept: accept.clone() };
    let server = serve(hub.handle(handler)).await;
    let addr = server.addr;
    let client = tokio::spawn(async move { Client::try_connect(addr, "/ws").await.map(drop) });
    within("the handler is asked", asked.notified()).await;
    hub.shutdown_now();
    let closed = tokio::spawn({
        let hub = hub.clone();
        async move { hub.closed().await }
    });
    tokio::task::yield_now().await;
    assert!(!closed.is_finished(), "an upgrade is under way");
    accept.notify_one();
    within("it is over then", closed).await.unwrap();
    let refusal = client.await.unwrap().expect_err("refused");
    assert!(refusal.to_string().contains("503"), "{refusal}");
    assert_eq!(hub.stats().handler_panics, 0);
}
