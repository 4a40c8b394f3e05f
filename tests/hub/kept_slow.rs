//! Clients that do not read for a while, under a policy that keeps them connected.

use std::time::{Duration, Instant};

use roomcast::{Conn, Hub, Overflow, Raw, RawMessage, SendError};
use tokio::net::TcpSocket;

use support::{PING, PONG, RawClient, Recorded, TEXT, eventually, frame, within};

const TEXT_BYTES: usize = 1_000;

fn message(number: usize) -> RawMessage {
    RawMessage::Text(format!("{number:06}{}", "x".repeat(TEXT_BYTES - 6)))
}

/// A client with a small receive buffer that reads nothing, and its connection.
struct Slow {
    server: Recorded<RawMessage>,
    client: RawClient,
    conn: Conn<RawMessage>,
    published: usize,
}

impl Slow {
    async fn connect(hub: Hub<RawMessage>) -> Self {
        let mut server = Recorded::serve(hub).await;
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(16 << 10).expect("before connecting");
        let stream = socket.connect(server.server.addr).await.expect("the server listens");
        let client = RawClient::shake_hands(stream).await;
        let conn = server.events.open().await;
        Self { server, client, conn, published: 0 }
    }

    /// Publishes a tick. The shard has processed the tick when this returns.
    async fn publish(&mut self) {
        self.server.hub.try_broadcast(&message(self.published)).unwrap();
        self.published += 1;
        self.conn.rooms().await;
    }

    /// Publishes until a message stays in the client's queue.
    async fn block(&mut self) {
        let mut blocked_since: Option<Instant> = None;
        while blocked_since.is_none_or(|since| since.elapsed() < Duration::from_millis(300)) {
            assert!(self.published < 50_000, "the kernel's buffers fill up at some time");
            self.publish().await;
            match self.conn.queued_bytes() {
                0 => blocked_since = None,
                _ => drop(blocked_since.get_or_insert_with(Instant::now)),
            }
        }
    }

    /// Publishes for this time, about 20 ticks a second.
    async fn tick_for(&mut self, time: Duration) {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        let began = Instant::now();
        while began.elapsed() < time {
            ticks.tick().await;
            self.publish().await;
        }
    }

    /// The numbers of the ticks that arrive, up to `last`.
    async fn read_to(&mut self, last: usize) -> Vec<usize> {
        let mut numbers: Vec<usize> = Vec::new();
        while numbers.last() != Some(&last) {
            match self.client.read_frame().await {
                Some((TEXT, payload)) => {
                    assert_eq!(payload.len(), TEXT_BYTES, "no message is torn");
                    numbers.push(str::from_utf8(&payload[..6]).unwrap().parse().unwrap());
                }
                Some((PING, payload)) => {
                    self.client.send(&frame(PONG, &payload)).await;
                }
                other => panic!("not a frame of this test after {numbers:?}: {other:?}"),
            }
        }
        assert!(numbers.is_sorted_by(|one, next| one < next), "in order, none twice");
        numbers
    }
}

fn hub(overflow: Overflow) -> Hub<RawMessage> {
    let builder = Hub::with_codec(Raw).shards(1).overflow(overflow);
    builder.write_timeout(Duration::from_millis(100)).build().unwrap()
}

/// On this platform the kernel reports whether a client that reads nothing still acknowledges.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn client_that_does_not_read_for_many_write_timeouts_stays_and_gets_the_newest() {
    for policy in [Overflow::DropOldest, Overflow::KeepNewest] {
        let hub = Hub::with_codec(Raw).shards(1).overflow(policy).send_buffer_bytes(8_000);
        let hub = hub.write_timeout(Duration::from_millis(100)).build().unwrap();
        let mut slow = Slow::connect(hub).await;
        slow.block().await;
        // Twenty times the write timeout.
        slow.tick_for(Duration::from_secs(2)).await;
        let last = slow.published - 1;
        let numbers = slow.read_to(last).await;
        assert!(numbers.len() < slow.published, "{policy:?}: it has missed some");
        let stats = slow.server.hub.stats();
        assert_eq!((stats.evictions(), stats.disconnected, stats.dropped_newest), (0, 0, 0));
        assert_eq!(numbers.len() + stats.dropped_oldest as usize, slow.published, "{policy:?}");
        // From then on the client is served as before.
        slow.publish().await;
        assert_eq!(slow.read_to(last + 1).await, [last + 1]);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn client_that_answers_no_ping_because_it_is_slow_stays() {
    let hub = Hub::with_codec(Raw).shards(1).overflow(Overflow::KeepNewest);
    let mut slow =
        Slow::connect(hub.ping_interval(Duration::from_millis(500)).build().unwrap()).await;
    slow.block().await;
    // Six ping intervals. A client that is not slow is closed after two intervals without a sign of life.
    slow.tick_for(Duration::from_secs(3)).await;
    assert!(!slow.conn.is_closed());
    let last = slow.published - 1;
    slow.read_to(last).await;
    // The client has all ticks now, and is silent.
    let hub = slow.server.hub.clone();
    eventually("it is closed as idle", || hub.stats().closed_idle == 1).await;
}

/// One setting is enough: neither the hub nor the kernel holds old ticks.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn slow_client_skips_from_the_ticks_already_sent_to_the_newest_tick() {
    let mut slow = Slow::connect(hub(Overflow::KeepNewest)).await;
    slow.block().await;
    slow.tick_for(Duration::from_millis(500)).await;
    assert!(slow.conn.queued_bytes() <= 2 * (TEXT_BYTES + 4), "a torn one, and the newest");
    let last = slow.published - 1;
    let numbers = slow.read_to(last).await;
    let before = numbers[numbers.len() - 2];
    assert!(before + 5 < last, "the client skips to the newest tick: {before}, {last}");
    // 16 KiB for the client, doubled by the kernel, and a few segments.
    assert!(numbers.len() < 100, "{} old ticks", numbers.len());
}

#[tokio::test]
async fn fast_client_gets_every_tick_with_keep_newest() {
    let mut slow = Slow::connect(hub(Overflow::KeepNewest)).await;
    for expected in 0..1_000 {
        slow.publish().await;
        assert_eq!(slow.read_to(expected).await, [expected]);
    }
    assert_eq!(slow.server.hub.stats().dropped(), 0);
}

/// A waiting call waits until the client's queue is empty, so it replaces no message.
#[tokio::test]
async fn waiting_sends_replace_nothing_with_keep_newest() {
    const MESSAGES: usize = 500;
    let mut slow = Slow::connect(hub(Overflow::KeepNewest)).await;
    let conn = slow.conn.clone();
    let sender = tokio::spawn(async move {
        for number in 0..MESSAGES {
            conn.send(&message(number)).await?;
        }
        Ok::<_, SendError>(())
    });
    let numbers = slow.read_to(MESSAGES - 1).await;
    assert!(numbers.into_iter().eq(0..MESSAGES));
    within("the sender", sender).await.unwrap().unwrap();
    assert_eq!(slow.server.hub.stats().dropped(), 0);
}

/// The write timeout is a day, and the client reads nothing. The hub closes the client and does not wait a day.
#[tokio::test]
async fn slow_client_under_a_keeping_policy_is_cut_when_it_is_closed() {
    let mut slow = Slow::connect(hub(Overflow::KeepNewest)).await;
    slow.block().await;
    slow.conn.close();
    let hub = slow.server.hub.clone();
    hub.shutdown_now();
    within("all have ended", hub.closed()).await;
    slow.client.ended().await;
}
