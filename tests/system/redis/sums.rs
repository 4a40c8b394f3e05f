//! Three nodes that publish while something fails: at each of them,
//! `published = delivered + dropped + lost`.

use std::time::Duration;

use crate::pair::{is_up, node};
use crate::sentinel;
use crate::trio::Trio;
use support::servers::{Proxy, RedisServer, SERVICE, Watched};
use support::{eventually, within};

/// Time for messages to flow.
const A_WHILE: Duration = Duration::from_millis(300);

/// Longer than a probe and its deadline: the nodes notice each fault.
const LONG: Duration = Duration::from_secs(8);

/// Three nodes; the last node has a network of its own.
struct Scene {
    redis: RedisServer,
    proxy: Proxy,
    trio: Trio,
}

impl Scene {
    async fn start() -> Self {
        let redis = RedisServer::start();
        let proxy = Proxy::start(redis.addr()).await;
        let urls = [redis.url(), redis.url(), proxy.url()];
        let mut trio = Trio::of(urls.map(|url| node(&url).build().unwrap())).await;
        trio.publish_for(A_WHILE).await;
        Self { redis, proxy, trio }
    }

    /// Continues to publish, waits until all nodes are up, and checks the sums.
    async fn end(mut self) {
        self.trio.publish_for(A_WHILE).await;
        eventually("all are up", || self.trio.are(is_up)).await;
        self.trio.publish_for(A_WHILE).await;
        self.trio.account_for().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_are_right_after_a_restart() {
    let mut scene = Scene::start().await;
    for _ in 0..3 {
        scene.redis.restart();
        scene.trio.publish_for(A_WHILE).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_are_right_after_a_server_that_froze() {
    let mut scene = Scene::start().await;
    scene.redis.pause();
    scene.trio.publish_for(LONG).await;
    scene.redis.resume();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_are_right_after_connections_that_the_server_closed() {
    let mut scene = Scene::start().await;
    for kind in ["pubsub", "normal", "pubsub"] {
        scene.redis.command(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
        scene.trio.publish_for(A_WHILE).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_are_right_after_one_network_cuts_connections() {
    let mut scene = Scene::start().await;
    for _ in 0..3 {
        scene.proxy.cut();
        scene.trio.publish_for(A_WHILE).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_are_right_after_one_network_stalls() {
    let mut scene = Scene::start().await;
    scene.proxy.stall();
    scene.trio.publish_for(LONG).await;
    scene.proxy.resume();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_are_right_after_an_outage_that_overflows_the_outbox() {
    let mut redis = RedisServer::start();
    let hubs = [(); 3].map(|()| node(&redis.url()).outbox_messages(100).build().unwrap());
    let mut trio = Trio::of(hubs).await;
    redis.kill();
    eventually("all notice", || trio.are(|hub| !is_up(hub))).await;
    trio.publish(1_000);
    redis.restart();
    eventually("all are up", || trio.are(is_up)).await;
    trio.account_for().await;
    assert!(trio.nodes.iter().all(|third| third.health().dropped >= 700), "{}", trio.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_are_right_after_a_master_that_died() {
    failover(|watched, master| watched.servers[master].kill()).await;
}

/// The former master becomes a replica, and its connections stay open for a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_are_right_after_a_master_that_was_demoted() {
    failover(|watched, _| {
        watched.sentinels[0].command(&["SENTINEL", "FAILOVER", SERVICE]);
    })
    .await;
}

/// Makes Sentinel promote the replica while three nodes publish.
async fn failover(begin: impl FnOnce(&mut Watched, usize)) {
    let mut watched = Watched::start().await;
    let mut trio = Trio::of([(); 3].map(|()| sentinel::node(&watched).build().unwrap())).await;
    trio.publish_for(A_WHILE).await;
    let master = watched.master();
    begin(&mut watched, master);
    let publishing = async {
        while !(watched.is_master(1 - master) && trio.are(is_up)) {
            trio.publish_for(A_WHILE).await;
        }
    };
    within("all follow the new master", publishing).await;
    trio.publish_for(A_WHILE).await;
    trio.account_for().await;
}
