//! A Redis Cluster whose masters die: the replicas take over, and the nodes follow.

use std::time::{Duration, Instant};

use roomcast::{Builder, Hub};

use crate::feed::{Feed, Numbered};
use crate::pair::{CHANNEL, COMMON, NOTICED, Pair, health, is_down_by, is_up};
use crate::trio::Trio;
use support::eventually;
use support::servers::{RedisCluster, RedisServer};

/// Time for messages to flow before something happens.
const A_WHILE: Duration = Duration::from_millis(500);

/// A cluster detects a dead master after two seconds, and elects a replica a second later.
const TAKEN_OVER: Duration = Duration::from_secs(10);

/// Redis gives up a failover by hand after five seconds, for example if a vote is missing; then the test asks again.
const BY_HAND: Duration = Duration::from_secs(6);

fn node(cluster: &RedisCluster) -> Builder<Numbered> {
    let builder = Hub::builder().shards(2).send_buffer(65_536).send_buffer_bytes(256 << 20);
    builder.redis_cluster(cluster.urls(), CHANNEL).channels(64)
}

async fn linked(cluster: &RedisCluster) -> (Pair, Feed) {
    let [a, b] = [(); 2].map(|()| node(cluster).build().unwrap());
    Pair::linked(a, b).await
}

/// The channel of the only room, by its name at the cluster members.
fn room_channel(cluster: &RedisCluster) -> String {
    let pattern = format!("roomcast:{CHANNEL}:[0-9]*");
    let channels = cluster.members.iter().flat_map(|member| {
        let channels = member.command(&["PUBSUB", "SHARDCHANNELS", &pattern]);
        redis::from_redis_value::<Vec<String>>(channels).expect("a list of channels")
    });
    let channels: Vec<String> = channels.collect();
    assert_eq!(channels.len(), 1, "{channels:?}");
    channels.into_iter().next().expect("there is one")
}

async fn master_dies(channel: impl FnOnce(&RedisCluster) -> String) {
    let mut cluster = RedisCluster::start().await;
    let (pair, mut feed) = linked(&cluster).await;
    feed.run_for(A_WHILE).await;
    let channel = channel(&cluster);
    cluster.kill(cluster.master_of(&channel));
    for hub in [&pair.a.hub, &pair.b.hub] {
        feed.run_until_within(NOTICED, "down", || is_down_by(hub, |_| true)).await;
    }
    let is_well = || is_up(&pair.a.hub) && is_up(&pair.b.hub);
    feed.run_until_within(TAKEN_OVER, "the replica is followed", is_well).await;
    pair.flow(&mut feed).await;
    pair.account_for(&mut feed).await;
    assert_eq!(health(&pair.a.hub).dropped, 0, "{pair:?}");
    assert_eq!(health(&pair.b.hub).subscriptions, 2, "{pair:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_channel_moves_to_the_replica_when_its_master_dies() {
    master_dies(room_channel).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn common_channel_moves_to_the_replica_when_its_master_dies() {
    master_dies(|_| COMMON.to_owned()).await;
}

/// As an operator does before the machine of a master is restarted: the master becomes a replica, and no
/// connection ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_follow_the_replica_after_a_failover_by_hand() {
    let cluster = RedisCluster::start().await;
    let (pair, mut feed) = linked(&cluster).await;
    feed.run_for(A_WHILE).await;
    let channel = room_channel(&cluster);
    let master = cluster.members[cluster.master_of(&channel)].port.to_string();
    let follows = |member: &RedisServer| member.info("master_port").as_ref() == Some(&master);
    let replica = cluster.members.iter().position(follows).expect("each master has a replica");
    let mut asked: Option<Instant> = None;
    let is_over = || {
        if asked.is_none_or(|asked| asked.elapsed() > BY_HAND) {
            asked = Some(Instant::now());
            let _ = cluster.members[replica].try_command(&["CLUSTER", "FAILOVER"]);
        }
        cluster.master_of(&channel) == replica
    };
    feed.run_until("the replica takes over", is_over).await;
    pair.flow(&mut feed).await;
    pair.account_for(&mut feed).await;
    assert_eq!(health(&pair.a.hub).dropped, 0, "{pair:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_only_to_cluster_members_that_have_the_channel() {
    let cluster = RedisCluster::start().await;
    let (pair, mut feed) = linked(&cluster).await;
    feed.run_for(A_WHILE).await;
    // A cluster member counts a message that it forwards to all members as `publish`, and a message for
    // its own replica as `publishshard`.
    for member in &cluster.members {
        let info = member.command(&["CLUSTER", "INFO"]);
        let info: String = redis::from_redis_value(info).expect("text");
        assert!(!info.contains("cluster_stats_messages_publish_sent"), "{info}");
    }
    eventually("all has arrived", || pair.remote.len() as u64 == feed.published).await;
    pair.account_for(&mut feed).await;
}

/// Messages that are published after all nodes have noticed the loss of the master wait for the replica, and for the
/// nodes to subscribe there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_wait_for_a_replica_reach_every_node() {
    let mut cluster = RedisCluster::start().await;
    let hubs = [(); 3].map(|()| node(&cluster).build().unwrap());
    let mut trio = Trio::of(hubs).await;
    cluster.kill(cluster.master_of(&room_channel(&cluster)));
    eventually("all notice", || trio.are(|hub| !is_up(hub))).await;
    trio.publish(100);
    let all = eventually("all messages arrive", || trio.have_all_arrived());
    tokio::time::timeout(TAKEN_OVER, all).await.unwrap_or_else(|_| panic!("{}", trio.told()));
    assert_eq!(trio.lost(), 0, "{}", trio.told());
    trio.account_for().await;
}
