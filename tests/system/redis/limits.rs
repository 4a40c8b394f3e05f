//! Limits of the Redis server that refuse or cut off a node, and the limits of the node itself.

use roomcast::BackplaneError;

use crate::pair::{NOTICED, Pair, health, is_down_by, is_up, node};
use support::eventually;
use support::servers::{Proxy, RedisServer};

/// Whether the server has refused for a reason that contains this word. Ignores upper and lower case, because some
/// texts come from the server and some from the client library.
fn is_refused_by(error: &BackplaneError, word: &str) -> bool {
    matches!(error, BackplaneError::Refused(text) if text.to_lowercase().contains(word))
}

/// The number of connections with subscriptions, as the server counts them.
fn subscribers(redis: &RedisServer) -> usize {
    let list = redis.command(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    redis::from_redis_value::<String>(list).expect("a list is text").lines().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_password_is_reported_and_retried() {
    let redis = RedisServer::start_with(&[("requirepass", "right")]);
    let a = node(&redis.url_as(":wrong")).build().unwrap();
    let b = node(&redis.url_as(":right")).build().unwrap();
    let (pair, mut feed) = Pair::start(a, b).await;
    let is_refused = || is_down_by(&pair.a.hub, |error| is_refused_by(error, "password"));
    feed.run_until_within(NOTICED, "refused", is_refused).await;
    eventually("the other one is up", || is_up(&pair.b.hub)).await;
    redis.command(&["CONFIG", "SET", "requirepass", "wrong"]);
    feed.run_until("up", || is_up(&pair.a.hub)).await;
    pair.flow(&mut feed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_password_is_reported() {
    let redis = RedisServer::start_with(&[("requirepass", "right")]);
    let [a, b] = [(); 2].map(|()| node(&redis.url()).build().unwrap());
    let (pair, mut feed) = Pair::start(a, b).await;
    let is_refused = || is_down_by(&pair.a.hub, |error| is_refused_by(error, "noauth"));
    feed.run_until_within(NOTICED, "refused", is_refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_with_too_many_clients_is_reported_and_retried() {
    let redis = RedisServer::start();
    let [a, b] = [(); 2].map(|()| node(&redis.url()).build().unwrap());
    let (pair, mut feed) = Pair::linked(a, b).await;
    // Only the connection of the test may stay.
    redis.command(&["CONFIG", "SET", "maxclients", "1"]);
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    // The server closes at once, so a write may fail before the node reads the reason.
    let is_fitting = |error: &BackplaneError| {
        matches!(error, BackplaneError::Connection(_))
            || is_refused_by(error, "max number of clients")
    };
    let is_refused = || is_down_by(&pair.a.hub, is_fitting);
    feed.run_until_within(NOTICED, "refused", is_refused).await;
    redis.command(&["CONFIG", "SET", "maxclients", "100"]);
    feed.run_until("both are up", || is_up(&pair.a.hub) && is_up(&pair.b.hub)).await;
    pair.flow(&mut feed).await;
    pair.account_for(&mut feed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriber_that_redis_cuts_off_as_too_slow_counts_lost_messages() {
    let redis = RedisServer::start_with(&[("client-output-buffer-limit", "pubsub 1mb 1mb 1")]);
    let proxy = Proxy::start(redis.addr()).await;
    let b = node(&proxy.url()).build().unwrap();
    let (pair, mut feed) = Pair::linked(node(&redis.url()).build().unwrap(), b).await;
    assert_eq!(subscribers(&redis), 2);
    feed.flood();
    proxy.stall();
    // The proxy stalls, so the server does not see when the node itself closes the connection.
    feed.run_until("the server cuts it off", || subscribers(&redis) < 2).await;
    feed.run_until_within(NOTICED, "down", || is_down_by(&pair.b.hub, |_| true)).await;
    proxy.resume();
    feed.run_until("up", || is_up(&pair.b.hub)).await;
    pair.flow(&mut feed).await;
    pair.account_for(&mut feed).await;
    assert!(health(&pair.b.hub).lost > 0, "{pair:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_outbox_drops_the_oldest_and_counts_them() {
    const OUTBOX: usize = 1_000;
    let mut redis = RedisServer::start();
    let a = node(&redis.url()).outbox_messages(OUTBOX).build().unwrap();
    let (pair, mut feed) = Pair::linked(a, node(&redis.url()).build().unwrap()).await;
    redis.kill();
    feed.run_until("messages are dropped", || health(&pair.a.hub).dropped > 500).await;
    assert!(health(&pair.a.hub).queued <= OUTBOX, "{pair:?}");
    redis.restart();
    pair.flow(&mut feed).await;
    pair.account_for(&mut feed).await;
    assert!(feed.queued_max <= OUTBOX, "{} of {OUTBOX}", feed.queued_max);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outbox_has_a_bound_in_bytes() {
    let mut redis = RedisServer::start();
    let a = node(&redis.url()).outbox_bytes(256 << 10).build().unwrap();
    let (pair, mut feed) = Pair::linked(a, node(&redis.url()).build().unwrap()).await;
    redis.kill();
    feed.flood();
    feed.run_until("messages are dropped", || health(&pair.a.hub).dropped > 500).await;
    assert!(health(&pair.a.hub).queued <= 256, "of 1,000 bytes each: {pair:?}");
    redis.restart();
    pair.flow(&mut feed).await;
    pair.account_for(&mut feed).await;
}
