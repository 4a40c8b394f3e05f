//! Leaving rooms, and everything that reaches a connection while its handler runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roomcast::{Close, Conn, DisconnectReason, Handler, Hub, Raw, RawMessage};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use support::{
    CLOSE, Listening, PING, PONG, RawClient, Recorded, TEXT, close_payload, frame, serve, within,
};

#[tokio::test]
async fn member_count_is_one_lower_when_leave_returns() {
    let mut server = Recorded::serve(Hub::<u32>::builder().shards(2).build().unwrap()).await;
    let mut members = Vec::new();
    for _ in 0..4 {
        let (client, conn) = server.connect().await;
        conn.try_join("r").unwrap();
        members.push((client, conn));
    }
    let hub = server.hub.clone();
    assert_eq!(hub.member_count("r"), 4);
    members[0].1.try_leave("r").unwrap();
    assert_eq!(hub.member_count("r"), 3);
    members[0].1.try_join("r").unwrap();
    assert_eq!(hub.member_count("r"), 4);
    for (left, (_, conn)) in (0..4).rev().zip(&members) {
        conn.try_leave("r").unwrap();
        assert_eq!(hub.member_count("r"), left);
    }
    for (_, conn) in &members {
        conn.rooms().await;
    }
    assert_eq!((hub.member_count("r"), hub.rooms().await.len()), (0, 0), "the shards have seen it");
}

#[tokio::test]
async fn leave_of_a_room_without_membership_keeps_the_count() {
    let mut server = Recorded::serve(Hub::<u32>::builder().shards(1).build().unwrap()).await;
    let (_one, stranger) = server.connect().await;
    let (_other, member) = server.connect().await;
    member.try_join("r").unwrap();
    let hub = server.hub.clone();
    for _ in 0..2 {
        stranger.try_leave("r").unwrap();
        assert_eq!(hub.member_count("r"), 1);
    }
    stranger.rooms().await;
    assert_eq!(hub.member_count("r"), 1);
    member.try_leave("r").unwrap();
    member.try_leave("r").unwrap();
    assert_eq!(hub.member_count("r"), 0, "left twice, counted once");
    member.rooms().await;
    member.try_join("r").unwrap();
    assert_eq!(hub.member_count("r"), 1);
    member.rooms().await;
    assert_eq!(hub.member_count("r"), 1);
}

/// A handler that counts messages, and holds each message until the test allows the answer.
struct Held {
    events: mpsc::UnboundedSender<&'static str>,
    may_answer: Arc<Semaphore>,
    messages: Arc<AtomicUsize>,
}

impl Handler<RawMessage> for Held {
    async fn on_message(&self, conn: &Conn<RawMessage>, _: RawMessage) -> Result<(), Close> {
        self.messages.fetch_add(1, Ordering::Relaxed);
        let _ = self.events.send("message");
        self.may_answer.acquire().await.expect("never closed").forget();
        // A client that is gone needs no answer.
        let _ = conn.send(&RawMessage::Text("answer".to_owned())).await;
        let _ = self.events.send("answered");
        Ok(())
    }

    async fn on_disconnect(&self, _: &Conn<RawMessage>, _: &DisconnectReason) -> Result<(), Close> {
        let _ = self.events.send("ended");
        Ok(())
    }
}

struct Scene {
    hub: Hub<RawMessage>,
    _server: Listening,
    client: RawClient,
    events: mpsc::UnboundedReceiver<&'static str>,
    may_answer: Arc<Semaphore>,
    messages: Arc<AtomicUsize>,
}

impl Scene {
    /// A client whose handler is running with one message.
    async fn begin() -> Self {
        let hub = Hub::with_codec(Raw).shards(1).build().unwrap();
        let (sender, mut events) = mpsc::unbounded_channel();
        let (may_answer, messages) = (Arc::new(Semaphore::new(0)), Arc::default());
        let handler = Held {
            events: sender,
            may_answer: may_answer.clone(),
            messages: Arc::clone(&messages),
        };
        let server = serve(hub.handle(handler)).await;
        let mut client = RawClient::connect(server.addr).await;
        client.send(&frame(TEXT, b"question")).await;
        assert_eq!(within("the message", events.recv()).await, Some("message"));
        Self { hub, _server: server, client, events, may_answer, messages }
    }

    /// The next frame, which must arrive at once: long before the handler continues.
    async fn next_at_once(&mut self) -> Option<(u8, Vec<u8>)> {
        let next = timeout(Duration::from_secs(2), self.client.read_frame()).await;
        next.expect("the frame arrives while the handler runs")
    }

    async fn event(&mut self) -> Option<&'static str> {
        within("an event", self.events.recv()).await
    }
}

#[tokio::test]
async fn pings_are_answered_while_a_handler_runs() {
    let mut scene = Scene::begin().await;
    for payload in [b"one", b"two"] {
        scene.client.send(&frame(PING, payload)).await;
        assert_eq!(scene.next_at_once().await, Some((PONG, payload.to_vec())));
    }
    scene.may_answer.add_permits(1);
    assert_eq!(scene.next_at_once().await, Some((TEXT, b"answer".to_vec())));
}

#[tokio::test]
async fn close_during_a_handler_is_answered_after_the_handlers_message() {
    let mut scene = Scene::begin().await;
    // The pong shows that the hub has read the close after the ping, or is about to read it.
    let close = frame(CLOSE, &close_payload(4_000, b"bye"));
    scene.client.send(&[frame(PING, b""), close].concat()).await;
    assert_eq!(scene.next_at_once().await, Some((PONG, vec![])));
    scene.may_answer.add_permits(1);
    assert_eq!(scene.next_at_once().await, Some((TEXT, b"answer".to_vec())));
    assert_eq!(scene.client.closed().await, (4_000, "bye".to_owned()));
    let events = [scene.event().await, scene.event().await];
    assert_eq!(events, [Some("answered"), Some("ended")], "one after the other");
}

#[tokio::test]
async fn on_disconnect_waits_for_the_running_handler_of_a_vanished_client() {
    let scene = Scene::begin().await;
    scene.client.stream.set_zero_linger().expect("a socket takes options");
    let Scene { client, mut events, may_answer, .. } = scene;
    drop(client);
    may_answer.add_permits(1);
    let first = within("an event", events.recv()).await;
    let second = within("an event", events.recv()).await;
    assert_eq!((first, second), (Some("answered"), Some("ended")));
}

/// Further messages of the client stay in the kernel's buffers, and then in the client.
#[tokio::test]
async fn at_most_one_message_is_read_ahead_while_a_handler_runs() {
    const MESSAGES: usize = 500;
    const BYTES: usize = 64 << 10;
    let Scene { hub, _server, client, mut events, may_answer, messages } = Scene::begin().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let (mut reader, mut writer) = client.stream.into_split();
    let writing = tokio::spawn({
        let sent = sent.clone();
        async move {
            let message = frame(TEXT, &[b'x'; BYTES]);
            for _ in 0..MESSAGES {
                writer.write_all(&message).await.expect("the server reads on some day");
                sent.fetch_add(1, Ordering::Relaxed);
            }
            writer
        }
    });
    let mut before = usize::MAX;
    while std::mem::replace(&mut before, sent.load(Ordering::Relaxed)) != before {
        sleep(Duration::from_millis(300)).await;
    }
    assert!(sent.load(Ordering::Relaxed) < MESSAGES, "the client is held up");
    let taken = hub.stats().messages_in;
    assert!(taken <= 2, "{taken} messages were taken while the first was handled");
    assert_eq!(messages.load(Ordering::Relaxed), 1);
    may_answer.add_permits(MESSAGES + 1);
    let reading =
        tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
    let writer = within("all is sent", writing).await.unwrap();
    for _ in 0..2 * MESSAGES + 1 {
        within("an event", events.recv()).await.expect("all are answered");
    }
    assert_eq!(messages.load(Ordering::Relaxed), MESSAGES + 1);
    drop(writer);
    within("the end", reading).await.unwrap().expect("the stream ends cleanly");
}
