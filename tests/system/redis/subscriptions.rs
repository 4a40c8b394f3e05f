//! Rooms that come and go: the node subscribes to their channels in time, and unsubscribes again.

use roomcast::{Conn, Hub};
use tokio::task::JoinSet;

use crate::pair::{CHANNEL, COMMON, health, is_up};
use support::servers::RedisServer;
use support::{Client, Recorded, eventually, within};

const CHANNELS: u16 = 64;

/// The clients of each node, and the rooms that each client visits.
const CLIENTS: u64 = 50;
const VISITS: u64 = 100;

async fn node(redis: &RedisServer) -> Recorded<u64> {
    let hub = Hub::builder().redis(redis.url(), CHANNEL).channels(CHANNELS).build().unwrap();
    let node = Recorded::serve(hub).await;
    eventually("the node is up", || is_up(&node.hub)).await;
    node
}

/// `(channel, number of subscribers)` of all channels with subscribers.
fn subscriptions(redis: &RedisServer) -> Vec<(String, u64)> {
    let channels = redis.command(&["PUBSUB", "CHANNELS"]);
    let channels: Vec<String> = redis::from_redis_value(channels).expect("a list of names");
    let words: Vec<&str> =
        ["PUBSUB", "NUMSUB"].into_iter().chain(channels.iter().map(String::as_str)).collect();
    redis::from_redis_value(redis.command(&words)).expect("names and numbers")
}

/// Visits one room after another; in each, the other node sends one message.
async fn visit(mut client: Client, conn: Conn<u64>, other: Hub<u64>, rooms: Vec<u64>) {
    for number in rooms {
        let room = number.to_string();
        within("a subscription", conn.join_subscribed(&room))
            .await
            .expect("the connection is open");
        other.try_to_room(&room, &number).expect("there is space");
        assert_eq!(client.get::<u64>().await, number, "the message of this room arrives");
        conn.try_leave(&room).expect("the connection is open");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_rooms_lose_no_message_and_leave_no_subscription() {
    let redis = RedisServer::start();
    let mut nodes = [node(&redis).await, node(&redis).await];
    let hubs = [nodes[0].hub.clone(), nodes[1].hub.clone()];
    let mut visitors = JoinSet::new();
    for number in 0..2 * CLIENTS {
        let at = (number % 2) as usize;
        let (client, conn) = nodes[at].connect().await;
        let rooms = (0..VISITS).map(|visit| number * VISITS + visit).collect();
        visitors.spawn(visit(client, conn, hubs[1 - at].clone(), rooms));
    }
    visitors.join_all().await;
    let only_the_common_one = [(COMMON.to_owned(), 2)];
    eventually("rooms are given up", || subscriptions(&redis) == only_the_common_one).await;
    for hub in &hubs {
        // The server processes the command before the node has the answer.
        eventually("the node knows", || health(hub).subscriptions == 1).await;
        let health = health(hub);
        assert_eq!((health.lost, health.dropped, health.overrun), (0, 0, 0));
        assert_eq!(health.received, CLIENTS * VISITS);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flapping_room_keeps_its_subscription() {
    let redis = RedisServer::start();
    let (mut a, b) = (node(&redis).await, node(&redis).await);
    let (mut client, conn) = a.connect().await;
    within("a subscription", conn.join_subscribed("room")).await.unwrap();
    // The node does not unsubscribe at once, so the following join still has its subscription.
    for number in 0..1_000 {
        conn.try_leave("room").unwrap();
        conn.try_join("room").unwrap();
        b.hub.try_to_room("room", &number).unwrap();
        assert_eq!(client.get::<u64>().await, number);
    }
    assert_eq!(health(&a.hub).lost, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_made_again_after_a_restart() {
    const ROOMS: u64 = 200;
    let mut redis = RedisServer::start();
    let (mut a, b) = (node(&redis).await, node(&redis).await);
    let (mut client, conn) = a.connect().await;
    for room in 0..ROOMS {
        within("a subscription", conn.join_subscribed(&room.to_string())).await.unwrap();
    }
    let before = subscriptions(&redis).len();
    redis.restart();
    eventually("as many as before", || subscriptions(&redis).len() == before).await;
    eventually("both are up", || is_up(&a.hub) && is_up(&b.hub)).await;
    for room in 0..ROOMS {
        b.hub.try_to_room(&room.to_string(), &room).unwrap();
        assert_eq!(client.get::<u64>().await, room);
    }
}
