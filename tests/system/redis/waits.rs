//! Waiting calls (`to_room`): they wait for space in the backplane's queue only while the backplane is up.

use std::time::Duration;

use roomcast::Hub;
use tokio::time::timeout;

use crate::feed::{Numbered, ROOM};
use crate::pair::{Pair, health, is_up, node};
use support::servers::RedisServer;
use support::{eventually, within};

/// A call that waits does not return within this time.
const A_MOMENT: Duration = Duration::from_millis(100);

fn large(number: u64) -> Numbered {
    Numbered { number, padding: "x".repeat(1_000_000) }
}

async fn publish(hub: &Hub<Numbered>, message: Numbered) {
    within("space", hub.to_room(ROOM, &message)).await.expect("the connection is open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_calls_lose_no_message_to_a_full_queue() {
    let redis = RedisServer::start();
    let nodes = [(); 2].map(|()| node(&redis.url()).outbox_bytes(8 << 20).build().unwrap());
    let (pair, mut feed) = Pair::linked(nodes[0].clone(), nodes[1].clone()).await;
    for _ in 0..122 {
        publish(&pair.a.hub, large(feed.published)).await;
        feed.published += 1;
    }
    eventually("all of them arrive", || pair.remote.len() as u64 == feed.published).await;
    assert_eq!(health(&pair.a.hub).dropped, 0, "{pair:?}");
    pair.account_for(&mut feed).await;
}

/// Members on the publisher's node get a message before its call waits for the backplane.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_members_have_the_message_of_a_call_that_waits() {
    let redis = RedisServer::start();
    let nodes = [(); 2].map(|()| node(&redis.url()).build().unwrap());
    let (pair, mut feed) = Pair::linked(nodes[0].clone(), nodes[1].clone()).await;
    redis.pause();
    // Far more messages than the queue takes from calls that wait, fewer than the outbox holds.
    for _ in 0..50 {
        let (hub, message) = (pair.a.hub.clone(), large(feed.published));
        feed.published += 1;
        let mut call = tokio::spawn(async move { publish(&hub, message).await });
        eventually("members here have it", || pair.local.len() as u64 == feed.published).await;
        let Err(_) = timeout(A_MOMENT, &mut call).await else { continue };
        assert!(is_up(&pair.a.hub), "calls wait only while the backplane is up: {pair:?}");
        redis.resume();
        within("space", call).await.expect("the call does not panic");
        return pair.account_for(&mut feed).await;
    }
    panic!("no call has waited: {pair:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_waits_for_a_backplane_that_is_down() {
    let mut redis = RedisServer::start();
    let nodes = [(); 2].map(|()| node(&redis.url()).outbox_bytes(8 << 20).build().unwrap());
    let (pair, mut feed) = Pair::linked(nodes[0].clone(), nodes[1].clone()).await;
    redis.pause();
    // Larger than the outbox: the publisher waits while the backplane is up, and loses messages when it is down.
    let hub = pair.a.hub.clone();
    let (first, count) = (feed.published, 50);
    let flood = tokio::spawn(async move {
        for number in first..first + count {
            publish(&hub, large(number)).await;
        }
    });
    eventually("the publisher waits", || health(&pair.a.hub).queued > 0).await;
    redis.kill();
    let flooded = timeout(Duration::from_secs(10), flood).await;
    flooded.expect("nothing waits for it any more").expect("no call fails");
    feed.published += count;
    eventually("members here have all", || pair.local.len() as u64 == feed.published).await;
    assert!(health(&pair.a.hub).dropped > 0, "{pair:?}");
    redis.restart();
    eventually("both are up", || is_up(&pair.a.hub) && is_up(&pair.b.hub)).await;
    pair.account_for(&mut feed).await;
}

/// The message of a cancelled call reaches all members or none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_call_publishes_everywhere_or_nowhere() {
    let redis = RedisServer::start();
    let nodes = [(); 2].map(|()| node(&redis.url()).build().unwrap());
    let (pair, mut feed) = Pair::linked(nodes[0].clone(), nodes[1].clone()).await;
    redis.pause();
    loop {
        let message = large(feed.published);
        feed.published += 1;
        let publish = pair.a.hub.to_room(ROOM, &message);
        if timeout(A_MOMENT, publish).await.is_err() {
            break;
        }
    }
    redis.resume();
    eventually("all of them arrive", || pair.remote.len() as u64 == feed.published).await;
    assert_eq!(pair.local.len() as u64, feed.published);
    pair.account_for(&mut feed).await;
}
