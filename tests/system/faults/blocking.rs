//! Handlers that block their worker thread, or never return. The server has two worker threads.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, timeout};

use crate::obedient::{
    self, BLOCK, BLOCK_BRIEFLY, BLOCK_IN_PLACE, BLOCK_THREAD, NEVER_RETURN, PUBLISH_AND_BLOCK,
    TICK_IN_TASK, TICK_IN_THREAD, TICKS, provoke,
};
use support::scene::crowd::{Crowd, Latencies, connect, latencies, next_line};
use support::scene::server::DEADLINE;

/// The messages of the other clients while the handlers misbehave.
const LINES: usize = 100;

const PACE: Duration = Duration::from_millis(20);

/// Makes this many handlers misbehave while other clients chat; then all clients leave.
async fn beside(text: &str, culprits: usize) -> Latencies {
    let server = obedient::start().await;
    let mut crowd = Crowd::gather(&server, "crowd", 50, 10).await;
    let mut clients = Vec::new();
    for _ in 0..culprits {
        clients.push(provoke(&server, text).await);
    }
    let latencies = crowd.publish(LINES, PACE).await;
    println!(
        "{culprits} handlers {text}: p99 of the others {} µs, at most {} µs",
        latencies.value_at_quantile(0.99),
        latencies.max()
    );
    crowd.leave().await;
    if text == NEVER_RETURN {
        // A running callback keeps its connection.
        server
            .eventually("", "the others are gone", |stats| stats.hub.connections == culprits as u64)
            .await;
        return latencies;
    }
    for mut client in clients {
        client.close(None).await.expect("the client can send a close");
        let rest = async { while client.next().await.is_some() {} };
        timeout(DEADLINE, rest).await.expect("the server answers when the handler returns");
    }
    server.nothing_is_left().await;
    latencies
}

/// Checks that the other clients are not delayed.
fn check_untouched(latencies: &Latencies) {
    let longest = Duration::from_micros(latencies.max());
    assert!(longest < BLOCK * 3 / 4, "others wait for a handler that blocks: {longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_block_in_place_do_not_hold_up_others() {
    check_untouched(&beside(BLOCK_IN_PLACE, 20).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_never_return_do_not_hold_up_others() {
    check_untouched(&beside(NEVER_RETURN, 100).await);
}

/// One worker of tokio watches all sockets: if the handler blocks that worker, all clients wait.
#[tokio::test(flavor = "multi_thread")]
async fn handler_that_blocks_its_thread_delays_others_no_longer_than_its_block() {
    for text in [BLOCK_THREAD, PUBLISH_AND_BLOCK] {
        let longest = Duration::from_micros(beside(text, 1).await.max());
        assert!(longest < 2 * BLOCK, "{longest:?}");
    }
}

/// The members of the room that is told the ticks, and the clients whose handlers block.
const MEMBERS: usize = 200;
const CULPRITS: usize = 4;

/// The time between two brief blocks of a client.
const BLOCK_PACE: Duration = Duration::from_millis(250);

/// Publishes ticks while handlers block now and then. Returns how late the members get the ticks.
async fn ticks(has_shard_threads: bool, publisher: &str) -> Latencies {
    let server = obedient::start_with(has_shard_threads).await;
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(connect(server.addr(), "culprits").await);
    }
    server.eventually("culprits", "all have joined", |stats| stats.members == MEMBERS).await;
    let addr = server.addr();
    let mut culprits = JoinSet::new();
    for culprit in 0..CULPRITS {
        culprits.spawn(async move {
            let mut client = connect(addr, "blocked").await;
            let mut due = interval_at(Instant::now() + BLOCK_PACE * culprit as u32 / 3, BLOCK_PACE);
            loop {
                due.tick().await;
                client.send(obedient::command(BLOCK_BRIEFLY)).await.expect("connected");
            }
        });
    }
    let mut hearing = JoinSet::new();
    let _publisher = provoke(&server, publisher).await;
    for mut member in members {
        hearing.spawn(async move {
            let mut latencies = latencies();
            for _ in 0..TICKS {
                let line = next_line(&mut member).await.expect("a member stays");
                latencies.saturating_record((obedient::now() - line.ts).max(1.0) as u64);
            }
            latencies
        });
    }
    let mut all = latencies();
    let heard = timeout(DEADLINE, hearing.join_all()).await.expect("all ticks come in time");
    heard.iter().for_each(|heard| all.add(heard).expect("of one kind"));
    all
}

/// Prints how late ticks are while handlers block now and then, with and without threads for shards.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute and a half"]
async fn shard_with_a_thread_does_not_wait_for_handlers_that_block_now_and_then() {
    for publisher in [TICK_IN_THREAD, TICK_IN_TASK] {
        let mut p99 = Vec::new();
        for has_shard_threads in [false, true, false, true] {
            let late = ticks(has_shard_threads, publisher).await;
            let [median, high] = [0.5, 0.99].map(|part| late.value_at_quantile(part));
            println!(
                "{publisher}, threads for shards: {has_shard_threads}: median {median} µs, p99 {high} µs, at most {} µs",
                late.max()
            );
            p99.push(high);
        }
        if publisher == TICK_IN_THREAD {
            assert!(p99[1].max(p99[3]) < p99[0].min(p99[2]), "{p99:?}");
        }
    }
}
