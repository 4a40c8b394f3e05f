//! Redis servers that end, stop or cut connections, and networks that swallow all data. Members on the
//! publishing node notice nothing, and each message that other members miss is counted.

use std::time::Duration;

use roomcast::BackplaneError;

use crate::feed::Feed;
use crate::pair::{NOTICED, Pair, health, is_down_by, is_up, node};
use support::servers::{Proxy, RedisServer};

/// Time for messages to flow before something happens.
const A_WHILE: Duration = Duration::from_millis(500);

/// Two linked nodes on one server.
async fn linked(redis: &RedisServer) -> (Pair, Feed) {
    let [a, b] = [(); 2].map(|()| node(&redis.url()).build().unwrap());
    Pair::linked(a, b).await
}

fn is_broken(error: &BackplaneError) -> bool {
    matches!(error, BackplaneError::Connection(_))
}

fn is_silent(error: &BackplaneError) -> bool {
    matches!(error, BackplaneError::Silent { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_members_miss_nothing_when_redis_is_killed_and_messages_flow_two_seconds_after_its_restart()
 {
    let mut redis = RedisServer::start();
    let (pair, mut feed) = linked(&redis).await;
    feed.run_for(A_WHILE).await;
    redis.kill();
    for hub in [&pair.a.hub, &pair.b.hub] {
        feed.run_until_within(NOTICED, "down", || is_down_by(hub, is_broken)).await;
    }
    feed.run_for(A_WHILE).await;
    assert!(health(&pair.a.hub).queued > 0, "{pair:?}");
    redis.restart();
    pair.flow_within(Duration::from_secs(2), &mut feed).await;
    feed.run_until("both are up", || is_up(&pair.a.hub) && is_up(&pair.b.hub)).await;
    pair.account_for(&mut feed).await;
    assert_eq!(health(&pair.a.hub).dropped, 0, "{pair:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_reconnect_to_a_redis_that_is_killed_repeatedly() {
    let mut redis = RedisServer::start();
    let (pair, mut feed) = linked(&redis).await;
    for _ in 0..3 {
        redis.restart();
        pair.flow(&mut feed).await;
    }
    pair.account_for(&mut feed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_connects_to_a_redis_that_starts_after_the_hub() {
    let mut redis = RedisServer::start();
    redis.kill();
    let [a, b] = [(); 2].map(|()| node(&redis.url()).build().unwrap());
    let (pair, mut feed) = Pair::start(a, b).await;
    feed.run_until_within(NOTICED, "down", || is_down_by(&pair.a.hub, is_broken)).await;
    redis.restart();
    pair.flow(&mut feed).await;
}

/// The test takes half a minute, but little CPU time: other tests run meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backplane_is_down_while_redis_is_stopped_for_twenty_seconds() {
    let redis = RedisServer::start();
    let (pair, mut feed) = linked(&redis).await;
    feed.run_for(A_WHILE).await;
    redis.pause();
    for hub in [&pair.a.hub, &pair.b.hub] {
        feed.run_until_within(NOTICED, "down", || is_down_by(hub, is_silent)).await;
    }
    feed.run_for(Duration::from_secs(20)).await;
    assert!(is_down_by(&pair.a.hub, is_silent) && is_down_by(&pair.b.hub, is_silent), "{pair:?}");
    redis.resume();
    feed.run_until("both are up", || is_up(&pair.a.hub) && is_up(&pair.b.hub)).await;
    pair.flow(&mut feed).await;
    pair.account_for(&mut feed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_subscribes_again_after_redis_ends_its_subscription() {
    let redis = RedisServer::start();
    let (pair, mut feed) = linked(&redis).await;
    let before = health(&pair.b.hub).reconnects;
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let is_noticed = || {
        let health = health(&pair.b.hub);
        health.last_error.is_some() && health.reconnects > before
    };
    feed.run_until_within(NOTICED, "a new subscription", is_noticed).await;
    feed.run_until("up", || is_up(&pair.b.hub)).await;
    pair.flow(&mut feed).await;
    pair.account_for(&mut feed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher_whose_network_stalls_queues_and_loses_nothing() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.addr()).await;
    let a = node(&proxy.url()).build().unwrap();
    let (pair, mut feed) = Pair::linked(a, node(&redis.url()).build().unwrap()).await;
    proxy.stall();
    feed.run_until_within(NOTICED, "down", || is_down_by(&pair.a.hub, is_silent)).await;
    assert!(is_up(&pair.b.hub), "its network is another one: {pair:?}");
    proxy.resume();
    feed.run_until("up", || is_up(&pair.a.hub)).await;
    pair.flow(&mut feed).await;
    pair.account_for(&mut feed).await;
    let lost = health(&pair.a.hub).dropped + health(&pair.b.hub).lost;
    assert_eq!(lost, 0, "the subscriber was connected all the time: {pair:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriber_whose_network_stalls_counts_lost_messages() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.addr()).await;
    let b = node(&proxy.url()).build().unwrap();
    let (pair, mut feed) = Pair::linked(node(&redis.url()).build().unwrap(), b).await;
    proxy.stall();
    feed.run_until_within(NOTICED, "down", || is_down_by(&pair.b.hub, is_silent)).await;
    // By then the node has given up both connections. A subscription that survived would miss nothing.
    feed.run_for(NOTICED).await;
    assert!(is_up(&pair.a.hub), "its network is another one: {pair:?}");
    proxy.resume();
    feed.run_until("up", || is_up(&pair.b.hub)).await;
    pair.flow(&mut feed).await;
    pair.account_for(&mut feed).await;
    assert!(health(&pair.b.hub).lost > 0, "{pair:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_accounted_for_when_the_network_cuts_connections() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.addr()).await;
    let [a, b] = [(); 2].map(|()| node(&proxy.url()).build().unwrap());
    let (pair, mut feed) = Pair::linked(a, b).await;
    for _ in 0..5 {
        proxy.cut();
        pair.flow(&mut feed).await;
    }
    pair.account_for(&mut feed).await;
}
