//! The end of a connection is queued behind all messages that were sent before the hub learned of the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use roomcast::{Close, Conn, Handler, Hub, Raw, RawMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};

use support::{
    CLOSE, Listening, RawClient, TEXT, close_payload, eventually, frame, frames, serve, within,
};

const CLIENTS: usize = 100;

/// Rounds of a test: a race does not go wrong each time.
const ROUNDS: usize = 50;

fn hub(shards: usize) -> Hub<RawMessage> {
    Hub::with_codec(Raw).shards(shards).build().unwrap()
}

/// A handler that echoes each message to its sender.
struct Echo;

impl Handler<RawMessage> for Echo {
    async fn on_message(&self, conn: &Conn<RawMessage>, message: RawMessage) -> Result<(), Close> {
        // The counters report whether the message is delivered.
        let _ = conn.send(&message).await;
        Ok(())
    }
}

/// A handler that broadcasts each message, also to the sender.
struct Chat;

impl Handler<RawMessage> for Chat {
    async fn on_connect(&self, conn: &Conn<RawMessage>) -> Result<(), Close> {
        Ok(conn.try_join("r")?)
    }

    async fn on_message(&self, conn: &Conn<RawMessage>, message: RawMessage) -> Result<(), Close> {
        let _ = conn.hub().to_room("r", &message).await;
        Ok(())
    }
}

/// A handler that reports each message, and answers when the test allows it.
struct Hesitant {
    begun: mpsc::UnboundedSender<Conn<RawMessage>>,
    may_answer: Arc<Semaphore>,
    answers: usize,
    accepted: Arc<AtomicUsize>,
}

/// The test's controls of the handler.
struct Reins {
    begun: mpsc::UnboundedReceiver<Conn<RawMessage>>,
    may_answer: Arc<Semaphore>,
    accepted: Arc<AtomicUsize>,
}

impl Hesitant {
    fn new(answers: usize) -> (Self, Reins) {
        let (sender, begun) = mpsc::unbounded_channel();
        let may_answer = Arc::new(Semaphore::new(0));
        let accepted = Arc::new(AtomicUsize::new(0));
        let reins = Reins { begun, may_answer: may_answer.clone(), accepted: accepted.clone() };
        (Self { begun: sender, may_answer, answers, accepted }, reins)
    }
}

impl Handler<RawMessage> for Hesitant {
    async fn on_message(&self, conn: &Conn<RawMessage>, message: RawMessage) -> Result<(), Close> {
        let _ = self.begun.send(conn.clone());
        self.may_answer.acquire().await.expect("never closed").forget();
        for _ in 0..self.answers {
            let sent = conn.send(&message).await;
            self.accepted.fetch_add(usize::from(sent.is_ok()), Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The way in which a client ends after its message.
#[derive(Debug, Clone, Copy)]
enum End {
    CloseInOneSegment,
    CloseInAnother,
    HalfClose,
    BrokenFrame,
}

impl End {
    async fn of(self, client: &mut RawClient) {
        let hello = frame(TEXT, b"hello");
        let close = frame(CLOSE, &close_payload(1_000, b""));
        match self {
            Self::CloseInOneSegment => client.send(&[hello, close].concat()).await,
            Self::CloseInAnother => {
                client.send(&hello).await;
                client.send(&close).await;
            }
            Self::HalfClose => {
                client.send(&hello).await;
                client.stream.shutdown().await.expect("the connection is open");
            }
            // Without a mask.
            Self::BrokenFrame => client.send(&[&hello[..], b"\x81\x02{}"].concat()).await,
        }
    }

    /// The close code that follows the answer, if any.
    fn answered_by(self) -> Option<u16> {
        match self {
            Self::CloseInOneSegment | Self::CloseInAnother => Some(1_000),
            Self::HalfClose => None,
            Self::BrokenFrame => Some(1_002),
        }
    }
}

/// Everything that a client reads up to a clean end of its stream: the messages, and the code of a close.
async fn read_on(client: &mut RawClient) -> (usize, Option<u16>) {
    let mut bytes = Vec::new();
    let end = within("the end", client.stream.read_to_end(&mut bytes)).await;
    end.expect("the stream ends, and does not break");
    let (mut messages, mut code) = (0, None);
    for (first, payload) in frames(&bytes) {
        match first {
            TEXT => messages += 1,
            CLOSE => code = Some(u16::from_be_bytes([payload[0], payload[1]])),
            _ => panic!("neither sent nor asked for: {first:#x}"),
        }
    }
    (messages, code)
}

async fn all_get_their_answer(server: &Listening, end: End) {
    let mut answered = 0;
    for _ in 0..CLIENTS {
        let mut client = RawClient::connect(server.addr).await;
        end.of(&mut client).await;
        let (messages, code) = read_on(&mut client).await;
        assert_eq!(code, end.answered_by(), "{end:?}");
        answered += messages;
    }
    assert_eq!(answered, CLIENTS, "{end:?}: so many of {CLIENTS} have got their answer");
}

async fn echo_answers(end: End) {
    for shards in [1, 2] {
        let server = serve(hub(shards).handle(Echo)).await;
        all_get_their_answer(&server, end).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_comes_before_the_answer_to_a_close_in_the_same_segment() {
    echo_answers(End::CloseInOneSegment).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_comes_before_the_answer_to_a_close_in_another_segment() {
    echo_answers(End::CloseInAnother).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_comes_before_the_end_that_answers_the_end_of_a_stream() {
    echo_answers(End::HalfClose).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_comes_before_the_close_that_answers_a_broken_frame() {
    echo_answers(End::BrokenFrame).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_copy_of_a_message_to_a_room_comes_before_the_answer_to_a_close() {
    for shards in [1, 2] {
        let server = serve(hub(shards).handle(Chat)).await;
        for end in [End::CloseInOneSegment, End::CloseInAnother, End::HalfClose] {
            all_get_their_answer(&server, end).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_is_delivered_to_all_although_its_sender_closes_right_after_it() {
    for shards in [1, 2] {
        let hub = hub(shards);
        let server = serve(hub.handle(Chat)).await;
        let mut others =
            [RawClient::connect(server.addr).await, RawClient::connect(server.addr).await];
        // The handshake response is sent before `on_connect` runs.
        eventually("the others are members", || hub.member_count("r") == others.len()).await;
        all_get_their_answer(&server, End::CloseInOneSegment).await;
        for other in &mut others {
            for _ in 0..CLIENTS {
                assert_eq!(other.read_frame().await, Some((TEXT, b"hello".to_vec())));
            }
        }
    }
}

/// The close, or the end of the stream, waits behind the message while its handler runs.
#[tokio::test]
async fn slow_handlers_answer_arrives_whatever_end_came_meanwhile() {
    for end in [End::CloseInOneSegment, End::CloseInAnother, End::HalfClose, End::BrokenFrame] {
        let (handler, mut reins) = Hesitant::new(3);
        let server = serve(hub(1).handle(handler)).await;
        let mut client = RawClient::connect(server.addr).await;
        end.of(&mut client).await;
        within("the message", reins.begun.recv()).await;
        reins.may_answer.add_permits(1);
        assert_eq!(read_on(&mut client).await, (3, end.answered_by()), "{end:?}");
    }
}

/// The frame of a text of five bytes, as a server sends it.
const FRAME_BYTES: u64 = 7;

/// A client that vanishes while its handler runs. The handler then sends this many answers.
struct Orphan {
    hub: Hub<RawMessage>,
    _server: Listening,
    reins: Reins,
    conn: Conn<RawMessage>,
}

impl Orphan {
    async fn with_answers(answers: usize) -> Self {
        let (handler, mut reins) = Hesitant::new(answers);
        let hub = hub(1);
        let server = serve(hub.handle(handler)).await;
        let mut client = RawClient::connect(server.addr).await;
        client.send(&frame(TEXT, b"hello")).await;
        let conn = within("the message", reins.begun.recv()).await.expect("the handler lives");
        client.stream.set_zero_linger().expect("a socket takes options");
        Self { hub, _server: server, reins, conn }
    }

    /// Lets the handler answer. Each accepted message is sent or counted.
    async fn all_is_accounted_for(self, accepted: usize) {
        let Self { hub, reins, .. } = self;
        reins.may_answer.add_permits(1);
        eventually("it is gone", || hub.stats().disconnected == 1).await;
        hub.shutdown_now();
        within("nothing is left", hub.closed()).await;
        let stats = hub.stats();
        assert_eq!(stats.bytes_out % FRAME_BYTES, 0, "only whole messages");
        let (written, dropped) = (stats.bytes_out / FRAME_BYTES, stats.dropped());
        let accepted = accepted + reins.accepted.load(Ordering::Relaxed);
        let seen = (written + dropped) as usize;
        assert_eq!(seen, accepted, "{written} written, {dropped} counted as dropped");
    }
}

#[tokio::test]
async fn answers_to_a_client_that_is_gone_are_counted() {
    Orphan::with_answers(5).await.all_is_accounted_for(0).await;
}

/// The first write fails, because the client is gone: the shard knows of the end, the handler does not.
#[tokio::test]
async fn sends_after_an_unnoticed_end_are_refused_or_counted() {
    let orphan = Orphan::with_answers(3).await;
    let message = RawMessage::Text("hello".to_owned());
    let mut accepted = 0;
    for _ in 0..5 {
        for _ in 0..3 {
            accepted += usize::from(orphan.conn.try_send(&message).is_ok());
        }
        // The shard has processed them.
        orphan.conn.rooms().await;
    }
    orphan.all_is_accounted_for(accepted).await;
}

/// The way in which a connection ends while senders do not know of the end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cause {
    ClientResets,
    ClientCloses,
    ClientHalfCloses,
    ServerCloses,
}

/// Sends from other tasks until the first error. Returns the number of accepted messages.
async fn send_until_closed(conn: Conn<RawMessage>) -> usize {
    let message = RawMessage::Text("hello".to_owned());
    let mut accepted = 0;
    // The test is not about slow clients.
    while accepted < 4_000 && conn.send(&message).await.is_ok() {
        accepted += 1;
        tokio::task::yield_now().await;
    }
    accepted
}

/// A handler that only reports its connections to the test.
struct Announcing(mpsc::UnboundedSender<Conn<RawMessage>>);

impl Handler<RawMessage> for Announcing {
    async fn on_connect(&self, conn: &Conn<RawMessage>) -> Result<(), Close> {
        let _ = self.0.send(conn.clone());
        Ok(())
    }
}

async fn end_under_senders(cause: Cause) {
    let hub = Hub::with_codec(Raw).shards(1).send_buffer(65_536).build().unwrap();
    let (sender, mut conns) = mpsc::unbounded_channel();
    let server = serve(hub.handle(Announcing(sender))).await;
    let mut client = RawClient::connect(server.addr).await;
    let conn = within("a connection", conns.recv()).await.expect("the handler lives");
    let senders = [(); 2].map(|()| tokio::spawn(send_until_closed(conn.clone())));
    assert_eq!(client.read_frame().await, Some((TEXT, b"hello".to_vec())));
    match cause {
        Cause::ClientResets => client.stream.set_zero_linger().expect("a socket takes options"),
        Cause::ClientCloses => client.send(&frame(CLOSE, &close_payload(1_000, b""))).await,
        Cause::ClientHalfCloses => client.stream.shutdown().await.expect("the connection is open"),
        Cause::ServerCloses => conn.close(),
    }
    let mut got = 1;
    while cause != Cause::ClientResets
        && let Some((first, _)) = client.read_frame().await
    {
        got += usize::from(first == TEXT);
    }
    drop(client);
    let mut accepted = 0;
    for sender in senders {
        accepted += within("a sender", sender).await.expect("it does not panic");
    }
    hub.shutdown_now();
    within("nothing is left", hub.closed()).await;
    let accounted = || {
        let stats = hub.stats();
        let left = match cause {
            Cause::ClientResets => (stats.bytes_out / FRAME_BYTES) as usize,
            _ => got,
        };
        (left, stats.dropped() as usize)
    };
    // The last messages may still wait for the shard.
    let all = || accounted().0 + accounted().1 >= accepted;
    eventually(&format!("{cause:?}: {accepted} accepted, {:?}", accounted()), all).await;
    let (left, dropped) = accounted();
    assert_eq!(left + dropped, accepted, "{cause:?}: {left} have left, {dropped} are counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_messages_to_a_client_that_resets_are_sent_or_counted() {
    for _ in 0..ROUNDS {
        end_under_senders(Cause::ClientResets).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_messages_to_a_client_that_closes_arrive_or_are_counted() {
    for _ in 0..ROUNDS {
        end_under_senders(Cause::ClientCloses).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_messages_to_a_client_that_half_closes_arrive_or_are_counted() {
    for _ in 0..ROUNDS {
        end_under_senders(Cause::ClientHalfCloses).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_messages_before_a_close_of_the_server_arrive_or_are_counted() {
    for _ in 0..ROUNDS {
        end_under_senders(Cause::ServerCloses).await;
    }
}
