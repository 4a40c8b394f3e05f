//! Outages of Redis: the messages that were published meanwhile reach every node that comes back.

use std::env;
use std::time::Duration;

use crate::pair::{NOTICED, is_up, node};
use crate::trio::Trio;
use support::eventually;
use support::servers::{Proxy, RedisServer};

/// The number of restarts under load; `ROOMCAST_RESTARTS` overrides it.
const RESTARTS: u64 = 8;

/// The longest wait between two attempts to connect, and some seconds.
const BACK: Duration = Duration::from_secs(15);

/// Kills the server, publishes, and starts the server again after a time.
async fn outage(redis: &mut RedisServer, trio: &mut Trio, away: Duration) {
    redis.kill();
    let down = eventually("all notice", || trio.are(|hub| !is_up(hub)));
    tokio::time::timeout(NOTICED, down).await.expect("in time");
    trio.publish(100);
    tokio::time::sleep(away).await;
    redis.restart();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_an_outage_reach_every_node() {
    let mut redis = RedisServer::start();
    let mut trio = Trio::linked(&redis).await;
    outages(&mut redis, &mut trio).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_an_outage_reach_every_node_with_64_channels() {
    let mut redis = RedisServer::start();
    let hubs = [(); 3].map(|()| node(&redis.url()).channels(64).build().unwrap());
    let mut trio = Trio::of(hubs).await;
    outages(&mut redis, &mut trio).await;
}

async fn outages(redis: &mut RedisServer, trio: &mut Trio) {
    // After the second outage, the nodes come back seconds apart.
    for away in [1, 6, 1].map(Duration::from_secs) {
        outage(redis, trio, away).await;
        let all = eventually("all messages arrive", || trio.have_all_arrived());
        tokio::time::timeout(BACK, all).await.unwrap_or_else(|_| panic!("{}", trio.told()));
        assert_eq!(trio.lost(), 0, "{}", trio.told());
    }
    trio.account_for().await;
}

/// Messages that are published after all nodes have noticed the outage wait in the queue, and must arrive. Messages
/// that the server had accepted when it died may be lost, and are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_under_load_lose_no_queued_message() {
    let restarts = env::var("ROOMCAST_RESTARTS").map_or(RESTARTS, |text| text.parse().unwrap());
    let mut redis = RedisServer::start();
    let mut trio = Trio::linked(&redis).await;
    for round in 0..restarts {
        trio.publish_for(Duration::from_millis(100 + 37 * (round % 5))).await;
        redis.kill();
        while !trio.are(|hub| !is_up(hub)) {
            trio.publish_for(Duration::from_millis(5)).await;
        }
        let waited = trio.next_numbers();
        trio.publish_for(Duration::from_millis(20 + 90 * (round % 7))).await;
        redis.restart();
        let arrived = eventually("the queued messages arrive", || trio.have_arrived_from(&waited));
        tokio::time::timeout(BACK, arrived).await.unwrap_or_else(|_| panic!("{}", trio.told()));
    }
    trio.account_for().await;
    println!("{restarts} restarts\n{}", trio.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absent_node_is_reported_with_the_number_of_messages_it_misses() {
    let mut redis = RedisServer::start();
    let proxy = Proxy::start(redis.addr()).await;
    let build = |url: String| node(&url).rejoin_wait(Duration::from_secs(2)).build().unwrap();
    let hubs = [build(redis.url()), build(redis.url()), build(proxy.url())];
    let mut trio = Trio::of(hubs).await;
    redis.kill();
    eventually("all notice", || trio.are(|hub| !is_up(hub))).await;
    proxy.stall();
    trio.publish(100);
    redis.restart();
    let absent = trio.nodes[2].hub().node_id();
    for there in &trio.nodes[..2] {
        eventually("the wait for the absent node ends", || !there.health().absent_nodes.is_empty())
            .await;
        let health = there.health();
        assert_eq!(health.absent_nodes.len(), 1, "{health:?}");
        assert_eq!((health.absent_nodes[0].node, health.absent_nodes[0].messages), (absent, 100));
        assert_eq!((health.unreached, health.awaited_nodes), (100, 0), "{health:?}");
    }
    eventually("the others hear each other", || trio.has_all_of(0, 1) && trio.has_all_of(1, 0))
        .await;
    proxy.resume();
    eventually("the node is back", || trio.are(is_up)).await;
    trio.account_for().await;
    assert_eq!(trio.nodes[2].health().lost, 200, "{}", trio.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_leave_at_once_with_a_rejoin_wait_of_zero() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.addr()).await;
    let build = |url: String| node(&url).rejoin_wait(Duration::ZERO).build().unwrap();
    let mut trio = Trio::of([build(proxy.url()), build(redis.url()), build(redis.url())]).await;
    proxy.cut();
    trio.publish(100);
    eventually("the others get them", || trio.has_all_of(1, 0) && trio.has_all_of(2, 0)).await;
    trio.account_for().await;
}
