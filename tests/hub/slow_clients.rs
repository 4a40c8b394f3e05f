//! Clients that do not read: the policy of their queue applies, and the other clients notice nothing.

use std::time::{Duration, Instant};

use roomcast::{Conn, DisconnectReason, Hub, Overflow, Raw, RawMessage, SendError};

use support::{
    CLOSE, Client, PING, PONG, RawClient, Recorded, TEXT, eventually, frame, parse_close, within,
};

/// Large enough to be split: the kernel takes a smaller message whole, or not at all.
const TEXT_BYTES: usize = 40_000;
const FRAME_BYTES: usize = TEXT_BYTES + 4;

/// A message that begins with its number.
fn message(number: usize) -> RawMessage {
    RawMessage::Text(format!("{number:06}{}", "x".repeat(TEXT_BYTES - 6)))
}

/// The number of a message.
fn number(text: &str) -> usize {
    assert_eq!(text.len(), TEXT_BYTES, "no message is torn");
    text[..6].parse().unwrap()
}

fn hub(overflow: Overflow) -> Hub<RawMessage> {
    let builder =
        Hub::with_codec(Raw).shards(1).send_buffer_bytes(4 * FRAME_BYTES).overflow(overflow);
    builder.write_timeout(Duration::from_secs(60)).build().unwrap()
}

/// A client that does not read, a client that reads, and the connection of the first client.
struct Pair {
    server: Recorded<RawMessage>,
    slow: RawClient,
    conn: Conn<RawMessage>,
    healthy: Client,
    published: usize,
}

impl Pair {
    async fn connect(hub: Hub<RawMessage>) -> Self {
        let mut server = Recorded::serve_tight(hub).await;
        let (slow, conn) = server.connect_tight().await;
        let (healthy, _) = server.connect().await;
        Self { server, slow, conn, healthy, published: 0 }
    }

    /// Publishes a message, and waits until the healthy client has it, so that each message is a separate burst.
    async fn publish(&mut self) {
        self.server.hub.try_broadcast(&message(self.published)).unwrap();
        let got = self.healthy.next_text().await;
        assert_eq!(number(&got), self.published, "the others get everything in order");
        self.published += 1;
    }

    async fn publish_until(&mut self, is_enough: impl Fn(&Self) -> bool) {
        while !is_enough(self) {
            assert!(self.published < 20_000, "the kernel's buffers fill up at some time");
            self.publish().await;
        }
    }

    /// Publishes until the socket of the slow client stays blocked, and messages wait in its queue.
    async fn block(&mut self) {
        let mut waiting = 0;
        let mut before = self.server.hub.stats();
        while waiting < 8 {
            assert!(self.published < 20_000, "the kernel's buffers fill up at some time");
            self.publish().await;
            self.conn.rooms().await;
            let after = self.server.hub.stats();
            // A message that waits is counted as delivered without a write. One such message may be a matter of timing.
            let is_written = after.writes - before.writes == after.deliveries - before.deliveries;
            waiting = if is_written { 0 } else { waiting + 1 };
            before = after;
        }
    }

    /// The frames that the slow client gets when it reads again: numbers of messages, then perhaps a close.
    async fn read_on(&mut self, until: impl Fn(&[usize]) -> bool) -> (Vec<usize>, Option<u16>) {
        let mut numbers = Vec::new();
        while !until(&numbers) {
            match self.slow.read_frame().await {
                Some((TEXT, payload)) => numbers.push(number(str::from_utf8(&payload).unwrap())),
                Some((CLOSE, payload)) => {
                    assert_eq!(self.slow.read_frame().await, None, "nothing follows a close");
                    return (numbers, Some(parse_close(&payload).0));
                }
                Some((PING | PONG, _)) => {}
                Some(other) => panic!("not a frame of this test: {other:?}"),
                None => return (numbers, None),
            }
        }
        (numbers, None)
    }
}

#[tokio::test]
async fn slow_client_is_evicted_and_others_still_receive() {
    let mut pair = Pair::connect(hub(Overflow::Evict)).await;
    pair.conn.try_join("r").unwrap();
    pair.publish_until(|pair| pair.server.hub.stats().evictions() > 0).await;
    let (ended, reason) = pair.server.events.ended().await;
    assert_eq!(ended.id(), pair.conn.id());
    let DisconnectReason::SlowClient { messages, bytes, .. } = reason else { panic!("{reason}") };
    assert!((5..=6).contains(&messages), "4 waited, one was on its way, one more came: {messages}");
    let most = messages * FRAME_BYTES;
    assert!(bytes <= most && bytes > most - FRAME_BYTES, "{bytes} bytes in {messages} messages");
    let stats = pair.server.hub.stats();
    assert_eq!((stats.evicted_full, stats.evicted_stalled), (1, 0));
    assert_eq!((pair.server.hub.count(), pair.server.hub.member_count("r")), (1, 0));
    assert!(matches!(pair.conn.try_send(&message(0)), Err(SendError::SlowClient(_))));
    let encoded = pair.server.hub.encode(&message(0)).unwrap();
    assert!(matches!(pair.conn.try_send_encoded(&encoded), Err(SendError::SlowClient(_))));
    assert!(matches!(pair.conn.send(&message(0)).await, Err(SendError::SlowClient(_))));
    for _ in 0..20 {
        pair.publish().await;
    }
}

#[tokio::test]
async fn evicted_client_that_reads_again_gets_whole_messages_and_1008() {
    let mut pair = Pair::connect(hub(Overflow::Evict)).await;
    pair.publish_until(|pair| pair.server.hub.stats().evictions() > 0).await;
    let evicted_at = pair.published;
    let (numbers, code) = pair.read_on(|_| false).await;
    assert_eq!(code, Some(1_008));
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>(), "from the first on, no gap");
    assert!(numbers.len() < evicted_at, "the queued messages are lost");
    let dropped = pair.server.hub.stats().dropped_at_end as usize;
    assert!(numbers.len() + dropped >= evicted_at, "{} + {dropped}", numbers.len());
}

#[tokio::test]
async fn socket_of_an_evicted_client_that_never_reads_is_gone_within_the_write_timeout() {
    let builder = Hub::with_codec(Raw).shards(1).send_buffer_bytes(4 * FRAME_BYTES);
    let hub = builder.write_timeout(Duration::from_millis(200)).build().unwrap();
    let mut pair = Pair::connect(hub).await;
    pair.publish_until(|pair| pair.server.hub.stats().evictions() > 0).await;
    pair.server.events.ended().await;
    let began = Instant::now();
    // The end of the socket is visible when only the two sockets hold the hub.
    pair.server.hub.shutdown_now();
    assert_eq!(pair.healthy.closed().await.0, 1_001);
    within("all have ended", pair.server.hub.closed()).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // A reset may discard the bytes that the kernel still held. In any case the stream ends.
    pair.slow.ended().await;
}

#[tokio::test]
async fn client_that_reads_nothing_for_the_write_timeout_is_evicted() {
    let builder = Hub::with_codec(Raw).shards(1).send_buffer(1_000);
    let hub = builder.write_timeout(Duration::from_millis(300)).build().unwrap();
    let mut pair = Pair::connect(hub).await;
    pair.block().await;
    let (ended, reason) = pair.server.events.ended().await;
    assert_eq!(ended.id(), pair.conn.id());
    let DisconnectReason::SlowClient { messages, bytes, .. } = reason else { panic!("{reason}") };
    assert!(messages >= 1 && bytes <= messages * FRAME_BYTES, "{messages} messages, {bytes} bytes");
    let stats = pair.server.hub.stats();
    assert_eq!((stats.evicted_full, stats.evicted_stalled), (0, 1));
    pair.publish().await;
}

#[tokio::test]
async fn client_that_stalls_and_reads_again_in_time_misses_nothing() {
    let builder = Hub::with_codec(Raw).shards(1).send_buffer(64).send_buffer_bytes(8 << 20);
    let mut pair = Pair::connect(builder.build().unwrap()).await;
    pair.block().await;
    for _ in 0..30 {
        pair.publish().await;
    }
    let all = pair.published;
    let (numbers, _) = pair.read_on(|numbers| numbers.len() == all).await;
    assert_eq!(numbers, (0..all).collect::<Vec<_>>());
    // When the client has caught up, it is served as before.
    pair.publish().await;
    let (numbers, _) = pair.read_on(|numbers| numbers.len() == 1).await;
    assert_eq!(numbers, [all]);
    let stats = pair.server.hub.stats();
    assert_eq!((stats.evictions(), stats.dropped()), (0, 0));
}

#[tokio::test]
async fn bytes_that_wait_for_a_client_are_bounded_too() {
    let builder = Hub::with_codec(Raw).shards(1).send_buffer(60_000).send_buffer_bytes(400_000);
    let mut pair = Pair::connect(builder.build().unwrap()).await;
    pair.publish_until(|pair| pair.server.hub.stats().evictions() > 0).await;
    let (_, reason) = pair.server.events.ended().await;
    let DisconnectReason::SlowClient { messages, bytes, .. } = reason else { panic!("{reason}") };
    assert!((9..=12).contains(&messages), "{messages} messages");
    assert!((360_000..=12 * FRAME_BYTES).contains(&bytes), "{bytes} bytes");
}

/// Makes a policy drop messages, and returns the messages that the client gets.
async fn dropping(overflow: Overflow) -> (Vec<usize>, Pair) {
    let mut pair = Pair::connect(hub(overflow)).await;
    pair.publish_until(|pair| pair.server.hub.stats().dropped() >= 10).await;
    let kept = pair.published - pair.server.hub.stats().dropped() as usize;
    let (numbers, _) = pair.read_on(|numbers| numbers.len() == kept).await;
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order, none twice: {numbers:?}");
    // The queue is empty, so the next message arrives as the next one.
    pair.publish().await;
    let (next, _) = pair.read_on(|numbers| numbers.len() == 1).await;
    assert_eq!(next, [pair.published - 1]);
    assert!(!pair.conn.is_closed());
    (numbers, pair)
}

#[tokio::test]
async fn drop_oldest_keeps_the_client_and_gives_it_the_newest() {
    let (numbers, pair) = dropping(Overflow::DropOldest).await;
    let stats = pair.server.hub.stats();
    assert_eq!(stats.evictions() + stats.dropped_newest + stats.dropped_at_end, 0);
    assert_eq!(stats.dropped_oldest, 10);
    assert_eq!(numbers.last(), Some(&(pair.published - 2)), "the newest arrived");
}

#[tokio::test]
async fn drop_newest_keeps_the_client_and_the_oldest_messages() {
    let (numbers, pair) = dropping(Overflow::DropNewest).await;
    let stats = pair.server.hub.stats();
    assert_eq!(stats.evictions() + stats.dropped_oldest + stats.dropped_at_end, 0);
    assert_eq!(stats.dropped_newest, 10);
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>(), "the newest were dropped");
}

#[tokio::test]
async fn pong_reaches_a_client_whose_queue_is_full_before_the_data_that_waits() {
    let mut pair = Pair::connect(hub(Overflow::DropNewest)).await;
    pair.publish_until(|pair| pair.server.hub.stats().dropped() >= 10).await;
    // The second pong shows that the hub has read the pings: pings that arrive together are answered together.
    pair.slow.send(&[frame(PING, b"first"), frame(TEXT, b"read")].concat()).await;
    pair.server.events.message().await;
    pair.slow.send(&frame(PING, b"second")).await;
    let hub = pair.server.hub.clone();
    let is_replaced = || hub.stats().pongs_replaced == 1;
    eventually("the newer pong takes the place of the older", is_replaced).await;
    let kept = pair.published - hub.stats().dropped() as usize;
    let mut numbers = Vec::new();
    let pong = loop {
        match pair.slow.read_frame().await {
            Some((TEXT, payload)) => numbers.push(number(str::from_utf8(&payload).unwrap())),
            other => break other,
        }
    };
    assert_eq!(pong, Some((PONG, b"second".to_vec())));
    let ahead_of = kept - numbers.len();
    // Four messages waited at first; the kernel may have taken one of them meanwhile.
    assert!((1..=4).contains(&ahead_of), "the pong waits only behind the torn message: {ahead_of}");
    let (rest, _) = pair.read_on(|rest| rest.len() == ahead_of).await;
    numbers.extend(rest);
    assert_eq!(numbers, (0..kept).collect::<Vec<_>>());
}

#[tokio::test]
async fn close_reaches_a_client_whose_queue_is_full_after_its_data() {
    let mut pair = Pair::connect(hub(Overflow::DropNewest)).await;
    pair.publish_until(|pair| pair.server.hub.stats().dropped() >= 10).await;
    pair.conn.close_with(4_000.into(), "enough");
    let (_, reason) = pair.server.events.ended().await;
    assert!(matches!(reason, DisconnectReason::ClosedByServer(_)), "{reason}");
    let dropped = pair.server.hub.stats().dropped_newest as usize;
    let (numbers, code) = pair.read_on(|_| false).await;
    assert_eq!(code, Some(4_000));
    // Mostly the first messages. The kernel may have taken one more meanwhile, and a later message its place.
    assert_eq!(numbers.len(), pair.published - dropped);
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
}

#[tokio::test]
async fn closing_client_that_never_reads_is_cut_after_the_write_timeout() {
    let builder = Hub::with_codec(Raw).shards(1).send_buffer(1_000);
    let hub = builder.write_timeout(Duration::from_millis(300)).build().unwrap();
    let mut pair = Pair::connect(hub).await;
    pair.block().await;
    pair.conn.close();
    let (_, reason) = pair.server.events.ended().await;
    assert!(matches!(reason, DisconnectReason::ClosedByServer(_)), "{reason}");
    let began = Instant::now();
    pair.server.hub.shutdown_now();
    assert_eq!(pair.healthy.closed().await.0, 1_001);
    within("all have ended", pair.server.hub.closed()).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(
        pair.server.hub.stats().dropped_at_end > 0,
        "the messages that it did not read are counted"
    );
}

#[tokio::test]
async fn messages_of_a_slow_client_are_still_received() {
    let mut pair = Pair::connect(hub(Overflow::DropOldest)).await;
    pair.publish_until(|pair| pair.server.hub.stats().dropped() > 0).await;
    pair.slow.send(&frame(TEXT, b"help")).await;
    let (from, text) = pair.server.events.message().await;
    assert_eq!((from.id(), text), (pair.conn.id(), RawMessage::Text("help".to_owned())));
}

#[tokio::test]
async fn many_paused_clients_do_not_delay_the_others() {
    let builder = Hub::with_codec(Raw).shards(2).send_buffer_bytes(4 * FRAME_BYTES);
    let mut server = Recorded::serve_tight(builder.build().unwrap()).await;
    let mut paused = Vec::new();
    for _ in 0..40 {
        paused.push(server.connect_tight().await);
    }
    let mut healthy = [server.connect().await.0, server.connect().await.0];
    let mut published = 0;
    while server.hub.stats().evictions() < 40 {
        assert!(published < 20_000, "all paused ones are evicted at some time");
        server.hub.try_broadcast(&message(published)).unwrap();
        for client in &mut healthy {
            assert_eq!(number(&client.next_text().await), published);
        }
        published += 1;
    }
    assert_eq!(server.hub.count(), 2);
    for _ in 0..40 {
        let (ended, reason) = server.events.ended().await;
        assert!(matches!(reason, DisconnectReason::SlowClient { .. }), "{reason}");
        assert!(paused.iter().any(|(_, conn)| conn.id() == ended.id()));
    }
}

#[tokio::test]
async fn bytes_that_wait_for_all_clients_together_are_bounded() {
    // The client's own queue is within its bounds.
    let builder = Hub::with_codec(Raw).shards(1).send_buffer(65_536).send_buffer_bytes(1 << 30);
    let hub = builder.max_queued_bytes(4 * FRAME_BYTES).build().unwrap();
    let mut pair = Pair::connect(hub).await;
    pair.publish_until(|pair| pair.server.hub.stats().evicted_for_memory == 1).await;
    let (ended, reason) = pair.server.events.ended().await;
    assert_eq!(ended.id(), pair.conn.id());
    let DisconnectReason::SlowClient { bytes, .. } = reason else { panic!("{reason}") };
    assert!((3 * FRAME_BYTES..=5 * FRAME_BYTES).contains(&bytes), "{bytes}");
    pair.publish().await;
}
