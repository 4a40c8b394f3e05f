//! Readers that stop reading, next to readers that continue.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::raise_descriptor_limit;
use support::scene::crowd::{Crowd, Latencies, SLOWDOWN_MAX, median};
use support::scene::server::{ANY_RATE, DEADLINE, Server};
use support::scene::wire::{enter, read_to_close};

/// The most handshakes at the same time.
const DIALS: usize = 256;

struct Scale {
    readers: usize,
    stalled: usize,
    text_bytes: usize,
    lines: usize,
    rounds: usize,
}

/// Waits for this many evictions. Returns how long the last sockets stayed open after the last eviction.
async fn watch(server: &Server, readers: usize, evictions: u64) -> Duration {
    let deadline = Instant::now() + DEADLINE;
    while server.stats("crowd").await.hub.evictions() < evictions {
        assert!(Instant::now() < deadline, "they are evicted in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let evicted = Instant::now();
    server.descriptors_fall_to(readers + 1).await;
    evicted.elapsed()
}

/// Publishes until the stalled readers are gone, and then some more.
async fn publish_beside(
    server: &Server,
    crowd: &mut Crowd,
    evictions: u64,
    lines: usize,
) -> (Latencies, Duration) {
    let (is_over, readers) = (Cell::new(false), crowd.size());
    let watching = async {
        let seen = watch(server, readers, evictions).await;
        is_over.set(true);
        seen
    };
    let publishing = async {
        let mut latencies = support::scene::crowd::latencies();
        while !is_over.get() || latencies.len() < (lines * readers) as u64 {
            latencies.add(crowd.publish_in_turn(1).await).expect("of one kind");
        }
        latencies
    };
    tokio::join!(publishing, watching)
}

/// The time that an evicted client has to read its close frame before its socket is closed.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// The result of a round.
struct Round {
    without: Latencies,
    with: Latencies,
    /// How long the sockets stayed open after the last eviction.
    gone_after: Duration,
}

/// Runs rounds in which some readers stall; before each, a time in which none stalls.
async fn stall(scale: &Scale) -> Vec<Round> {
    raise_descriptor_limit();
    let server = Server::chat(&[ANY_RATE, &["--socket-send-buffer", "16384"]].concat()).await;
    let mut crowd = Crowd::gather(&server, "crowd", scale.readers, scale.text_bytes).await;
    crowd.publish_in_turn(3).await;
    let mut rounds = Vec::new();
    for _ in 0..scale.rounds {
        rounds.push(stall_once(&server, &mut crowd, scale, rounds.len() + 1).await);
    }
    crowd.leave().await;
    let evictions = server.nothing_is_left().await.hub.evictions();
    assert_eq!(evictions, (scale.stalled * scale.rounds) as u64);
    rounds
}

async fn stall_once(server: &Server, crowd: &mut Crowd, scale: &Scale, number: usize) -> Round {
    let Scale { readers, stalled, lines, .. } = *scale;
    let without = crowd.publish_in_turn(lines).await;
    let dials = (0..stalled).map(|_| enter(server.addr(), "crowd", Some(4_096)));
    let blocked: Vec<TcpStream> = stream::iter(dials).buffer_unordered(DIALS).collect().await;
    let all = readers + stalled;
    server.eventually("crowd", "all have joined", |stats| stats.members == all).await;
    let evictions = stalled * number;
    let (with, gone_after) = publish_beside(server, crowd, evictions as u64, lines).await;
    println!(
        "{stalled} of {all} readers stalled: the others have {}, without {}; sockets gone \
         {gone_after:.2?} after the last eviction",
        told(&with),
        told(&without),
    );
    drop(blocked);
    Round { without, with, gone_after }
}

fn told(latencies: &Latencies) -> String {
    let [median, p99] = [0.5, 0.99].map(|part| latencies.value_at_quantile(part));
    format!("median {median} µs, p99 {p99} µs, at most {} µs", latencies.max())
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_readers_are_evicted_and_the_others_miss_nothing() {
    let scale = Scale { readers: 90, stalled: 10, text_bytes: 16_384, lines: 20, rounds: 2 };
    stall(&scale).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "nineteen thousand clients"]
async fn stalled_tenth_of_19_000_readers_is_evicted_and_the_others_miss_nothing() {
    let scale = Scale { readers: 17_100, stalled: 1_900, text_bytes: 4_096, lines: 100, rounds: 3 };
    let rounds = stall(&scale).await;
    for Round { gone_after, .. } in &rounds {
        assert!(*gone_after <= GONE_WITHIN, "{gone_after:?} after the last eviction");
    }
    let p99 = |latencies: &Latencies| latencies.value_at_quantile(0.99) as f64;
    let slowdown = rounds.iter().map(|round| p99(&round.with) / p99(&round.without));
    let slowdown = median(slowdown.collect());
    println!("the others wait {slowdown:.2} times as long at the 99th percentile");
    assert!(slowdown <= SLOWDOWN_MAX, "others wait {slowdown} times as long");
}

/// A client that stalls until it is evicted, and then reads on.
#[tokio::test(flavor = "multi_thread")]
async fn evicted_reader_that_reads_on_gets_close_code_1008() {
    let server = Server::chat(ANY_RATE).await;
    let mut crowd = Crowd::gather(&server, "crowd", 3, 16_384).await;
    let mut stalled = enter(server.addr(), "crowd", Some(65_536)).await;
    while server.stats("crowd").await.hub.evictions() == 0 {
        crowd.publish_in_turn(1).await;
    }
    let code =
        timeout(DEADLINE, read_to_close(&mut stalled)).await.expect("the connection ends in time");
    assert_eq!(code, Some(1_008));
    crowd.leave().await;
    server.nothing_is_left().await;
}
