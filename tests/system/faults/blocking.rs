//! Handlers that block their worker thread, or never return. The server has two worker threads.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;

use crate::obedient::{
    self, BLOCK, BLOCK_IN_PLACE, BLOCK_THREAD, NEVER_RETURN, PUBLISH_AND_BLOCK, provoke,
};
use support::scene::crowd::{Crowd, Latencies};
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
