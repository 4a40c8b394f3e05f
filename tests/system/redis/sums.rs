//! Three nodes that publish while something fails: at each of them,
//! `published = delivered + dropped + lost`.

use std::time::Duration;

use crate::pair::{is_up, node};
use crate::trio::Trio;
use support::eventually;
use support::servers::{Proxy, RedisServer};

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
