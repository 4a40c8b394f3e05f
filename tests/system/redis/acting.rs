//! Actions on connections of other nodes: logs a user out everywhere, also during an outage.

use roomcast::{Close, CloseCode, Conn, DisconnectReason, Hub, Target};

use support::claims::is_up;
use support::servers::{Proxy, RedisServer};
use support::{Client, Recorded, eventually};

const END: u32 = u32::MAX;

/// A node with two clients: one of the user, in the user's room, and one of another user.
struct Node {
    server: Recorded<u32>,
    user: (Client, Conn<u32>),
    other: (Client, Conn<u32>),
}

impl Node {
    async fn of(hub: Hub<u32>) -> Self {
        let mut server = Recorded::serve(hub).await;
        let (user, other) = (server.connect().await, server.connect().await);
        user.1.join_subscribed("user:7").await.unwrap();
        other.1.join_subscribed("user:8").await.unwrap();
        Self { server, user, other }
    }

    fn hub(&self) -> &Hub<u32> {
        &self.server.hub
    }

    async fn user_is_told(&mut self, code: u16, reason: &str) {
        assert_eq!(self.user.0.closed().await, (code, reason.to_owned()));
        let (conn, ended) = self.server.events.ended().await;
        assert_eq!(conn, self.user.1);
        let close = Close::new(CloseCode::from(code), reason.to_owned());
        assert_eq!(ended, DisconnectReason::ClosedByServer(close));
    }
}

/// Three nodes that know each other. The first node reaches Redis by another URL.
async fn three(redis: &RedisServer, first: &str, channels: u16) -> Vec<Node> {
    let mut nodes = Vec::new();
    for url in [first, &redis.url(), &redis.url()] {
        let builder = Hub::builder().shards(2).redis(url, "chat").channels(channels);
        nodes.push(Node::of(builder.build().unwrap()).await);
    }
    for node in &nodes {
        let knows_all = || is_up(node.hub()) && node.hub().cluster().nodes().len() == 3;
        eventually("the nodes know each other", knows_all).await;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_a_room_logs_a_user_out_on_three_nodes() {
    for channels in [1, 8] {
        let redis = RedisServer::start();
        let mut nodes = three(&redis, &redis.url(), channels).await;
        let close = Close::new(CloseCode::from(4_001), "logged out");
        nodes[1].hub().try_close(&Target::room("user:7"), close).unwrap();
        for node in &mut nodes {
            node.user_is_told(4_001, "logged out").await;
        }
        nodes[1].hub().try_broadcast(&END).unwrap();
        for node in &mut nodes {
            assert_eq!(node.other.0.get::<u32>().await, END, "other users stay");
            assert_eq!((node.hub().count(), node.hub().rooms().await.len()), (1, 1));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_connection_ids_logs_a_user_out_on_three_nodes() {
    let redis = RedisServer::start();
    let mut nodes = three(&redis, &redis.url(), 8).await;
    let sessions: Vec<String> = nodes.iter().map(|node| node.user.1.id().to_string()).collect();
    for id in sessions {
        let target = Target::conn(id.parse().unwrap());
        nodes[2].hub().close(&target, CloseCode::from(4_001)).await.unwrap();
    }
    for node in &mut nodes {
        node.user_is_told(4_001, "").await;
        assert_eq!(node.hub().count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actions_during_an_outage_wait_and_arrive_in_order() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.addr()).await;
    // A node that is not subscribed when Redis is back misses messages, so only one node has the outage.
    let mut nodes = three(&redis, &proxy.url(), 1).await;
    proxy.stall();
    let hub = nodes[0].hub().clone();
    eventually("the outage is noticed", || !is_up(&hub)).await;
    hub.try_join(&Target::room("user:8"), "party").unwrap();
    hub.try_to_room("party", &1).unwrap();
    hub.try_leave(&Target::room("user:8"), "party").unwrap();
    hub.try_to_room("party", &2).unwrap();
    hub.try_close(&Target::room("user:7"), CloseCode::from(4_001)).unwrap();
    hub.try_broadcast(&END).unwrap();
    nodes[0].user_is_told(4_001, "").await;
    assert_eq!(nodes[0].other.0.get_many::<u32>(2).await, [1, END], "local members see it at once");
    assert!(nodes[1..].iter().all(|node| !node.user.1.is_closed()));
    assert_eq!(hub.backplane_health().unwrap().dropped, 0);
    proxy.resume();
    for node in &mut nodes[1..] {
        node.user_is_told(4_001, "").await;
        assert_eq!(node.other.0.get_many::<u32>(2).await, [1, END]);
        let health = node.hub().backplane_health().unwrap();
        assert_eq!((health.received, health.lost, health.garbage), (6, 0, 0), "{health:?}");
    }
    let published = || hub.backplane_health().unwrap().published;
    eventually("actions count as messages", || published() == 6).await;
}
