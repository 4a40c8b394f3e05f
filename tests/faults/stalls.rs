//! Readers that stop to read, beside those that go on.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::crowd::{Crowd, Latencies};
use crate::raise_descriptor_limit;
use crate::server::{DEADLINE, Server};
use crate::wire::{enter, read_to_close};

/// Handshakes under way at a time.
const DIALS: usize = 256;

struct Scale {
    readers: usize,
    stalled: usize,
    text_bytes: usize,
    lines: usize,
}

/// When the eviction of stalled clients came how far.
#[derive(Debug, Default)]
struct Evictions {
    first: Option<Instant>,
    all: Option<Instant>,
    gone: Option<Instant>,
}

/// Watches until the last of so many is evicted and its socket is gone.
async fn watch(server: &Server, readers: usize, stalled: usize) -> Evictions {
    let mut seen = Evictions::default();
    let deadline = Instant::now() + DEADLINE;
    while seen.gone.is_none() {
        assert!(Instant::now() < deadline, "they are evicted in time");
        let stats = server.stats("crowd").await;
        let now = Instant::now();
        if stats.evictions > 0 {
            seen.first.get_or_insert(now);
        }
        if stats.evictions >= stalled as u64 {
            seen.all.get_or_insert(now);
            server.descriptors_fall_to(readers + 1).await;
            seen.gone = Some(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    seen
}

/// Publishes until the stalled ones are gone, and some more.
async fn publish_beside(
    server: &Server,
    crowd: &mut Crowd,
    stalled: usize,
    lines: usize,
) -> (Latencies, Evictions) {
    let mut latencies = crate::crowd::latencies();
    let watching = watch(server, crowd.size(), stalled);
    let mut watching = std::pin::pin!(watching);
    let mut seen = None;
    while seen.is_none() || latencies.len() < (lines * crowd.size()) as u64 {
        tokio::select! {
            evictions = &mut watching, if seen.is_none() => seen = Some(evictions),
            line = crowd.publish_in_turn(1) => latencies.add(line).expect("of one kind"),
        }
    }
    (latencies, seen.expect("the loop ends with it"))
}

/// A second, in which an evicted client may take its close frame, and what a busy machine needs to
/// see that it is over.
const GONE_WITHIN: Duration = Duration::from_millis(1_500);

/// Latencies without stalled readers and with them, and how long their sockets were there after the
/// last eviction.
async fn stall(scale: Scale) -> (Latencies, Latencies, Duration) {
    raise_descriptor_limit();
    let server = Server::chat_at_any_rate().await;
    let Scale { readers, stalled, text_bytes, lines } = scale;
    let mut crowd = Crowd::gather(&server, "crowd", readers, text_bytes).await;
    crowd.publish_in_turn(3).await;
    let without = crowd.publish_in_turn(lines).await;

    let dials = (0..stalled).map(|_| enter(server.addr(), "crowd", Some(4_096)));
    let blocked: Vec<TcpStream> = stream::iter(dials).buffer_unordered(DIALS).collect().await;
    let all = readers + stalled;
    server.eventually("crowd", "all have joined", |stats| stats.members == all).await;
    let (with, seen) = publish_beside(&server, &mut crowd, stalled, lines).await;
    let after = |from: Option<Instant>| seen.gone.expect("seen") - from.expect("seen");
    println!(
        "{stalled} of {all} readers stalled: p99 of the others {} µs, without {} µs; sockets gone \
         {:.2?} after the last eviction, {:.2?} after the first",
        with.value_at_quantile(0.99),
        without.value_at_quantile(0.99),
        after(seen.all),
        after(seen.first),
    );
    crowd.leave().await;
    assert_eq!(server.nothing_is_left().await.evictions, stalled as u64);
    drop(blocked);
    (without, with, after(seen.all))
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_readers_are_evicted_and_the_others_miss_nothing() {
    stall(Scale { readers: 90, stalled: 10, text_bytes: 16_384, lines: 20 }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "nineteen thousand clients"]
async fn the_tenth_of_19_000_readers_that_stall_is_evicted_and_the_others_miss_nothing() {
    let scale = Scale { readers: 17_100, stalled: 1_900, text_bytes: 4_096, lines: 40 };
    let (without, with, gone_after) = stall(scale).await;
    assert!(gone_after <= GONE_WITHIN, "{gone_after:?} after the last eviction");
    let [without, with] = [without, with].map(|latencies| latencies.value_at_quantile(0.99));
    assert!(with <= 2 * without, "p99 {with} µs with stalled readers, {without} µs without");
}

/// A client that stalls until it is evicted, and then reads on.
#[tokio::test(flavor = "multi_thread")]
async fn evicted_reader_that_reads_on_at_once_is_told_1008() {
    let server = Server::chat_at_any_rate().await;
    let mut crowd = Crowd::gather(&server, "crowd", 3, 16_384).await;
    let mut stalled = enter(server.addr(), "crowd", Some(65_536)).await;
    while server.stats("crowd").await.evictions == 0 {
        crowd.publish_in_turn(1).await;
    }
    let code = timeout(DEADLINE, read_to_close(&mut stalled)).await.expect("it is over in time");
    assert_eq!(code, Some(1_008));
    crowd.leave().await;
    server.nothing_is_left().await;
}
