//! Redis servers that are replicas from the start, or become replicas. A replica acknowledges a publish, but the
//! message does not reach the subscribers of the master.

use std::time::Duration;

use roomcast::{BackplaneError, Hub};

use crate::feed::Feed;
use crate::pair::{NOTICED, Pair, health, is_down_by, is_up, node};
use support::eventually;
use support::servers::{RedisCluster, RedisServer};

/// Time for messages to flow before something happens.
const A_WHILE: Duration = Duration::from_millis(500);

/// Whether an error says that the server at this port is a replica.
pub(crate) fn is_replica(port: u16) -> impl Fn(&BackplaneError) -> bool {
    move |error| matches!(error, BackplaneError::Replica { server } if *server == format!("127.0.0.1:{port}"))
}

/// A master, and a replica in sync.
async fn with_replica() -> (RedisServer, RedisServer) {
    let servers =
        (RedisServer::start(), RedisServer::start_with(&[("repl-diskless-sync-delay", "0")]));
    servers.1.follow(&servers.0);
    eventually("in sync", || servers.1.info("master_link_status").as_deref() == Some("up")).await;
    servers
}

async fn linked(redis: &RedisServer) -> (Pair, Feed) {
    let [a, b] = [(); 2].map(|()| node(&redis.url()).build().unwrap());
    Pair::linked(a, b).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backplane_on_a_replica_is_down_until_the_replica_is_promoted() {
    let (_master, replica) = with_replica().await;
    let [a, b] = [(); 2].map(|()| node(&replica.url()).build().unwrap());
    let (pair, mut feed) = Pair::start(a, b).await;
    for hub in [&pair.a.hub, &pair.b.hub] {
        let is_told = || is_down_by(hub, is_replica(replica.port));
        feed.run_until_within(NOTICED, "down by that reason", is_told).await;
    }
    assert_eq!(health(&pair.a.hub).published, 0, "{pair:?}");
    replica.promote();
    let is_well = || is_up(&pair.a.hub) && is_up(&pair.b.hub);
    feed.run_until("both are up", is_well).await;
    pair.flow(&mut feed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backplane_on_a_demoted_master_is_down_until_promotion_and_accounts_for_messages() {
    let (other, redis) = (RedisServer::start(), RedisServer::start());
    let (pair, mut feed) = linked(&redis).await;
    feed.run_for(A_WHILE).await;
    redis.follow(&other);
    for hub in [&pair.a.hub, &pair.b.hub] {
        let is_told = || is_down_by(hub, is_replica(redis.port));
        feed.run_until_within(NOTICED, "down by that reason", is_told).await;
    }
    let published = health(&pair.a.hub).published;
    feed.run_for(A_WHILE).await;
    assert_eq!(health(&pair.a.hub).published, published, "a replica has acknowledged: {pair:?}");
    redis.promote();
    let is_well = || is_up(&pair.a.hub) && is_up(&pair.b.hub);
    feed.run_until("both are up", is_well).await;
    pair.flow(&mut feed).await;
    pair.account_for(&mut feed).await;
    assert_eq!(health(&pair.a.hub).dropped, 0, "{pair:?}");
}

/// Only heartbeats are published: the probes notice the change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_node_notices_that_its_master_is_demoted() {
    let (other, redis) = (RedisServer::start(), RedisServer::start());
    let hub = Hub::<u64>::builder().redis(redis.url(), "chat").build().unwrap();
    eventually("up", || is_up(&hub)).await;
    redis.follow(&other);
    let is_told = || hub.backplane_err().is_some_and(|error| is_replica(redis.port)(&error));
    eventually("down by that reason", is_told).await;
    redis.promote();
    eventually("up again", || is_up(&hub)).await;
}

/// A replica in a cluster forwards a plain `PUBLISH` to all members, so a replica is no problem there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_in_a_cluster_accepts_plain_publishes() {
    let cluster = RedisCluster::start().await;
    let is_follower = |member: &&RedisServer| member.info("role").as_deref() == Some("slave");
    let replica = cluster.members.iter().find(is_follower).expect("each master has one");
    let master =
        cluster.members.iter().find(|member| !is_follower(member)).expect("there are three");
    let [a, b] = [replica, master].map(|member| node(&member.url()).build().unwrap());
    let (pair, mut feed) = Pair::linked(a, b).await;
    pair.flow(&mut feed).await;
    pair.account_for(&mut feed).await;
}
