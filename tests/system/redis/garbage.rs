//! Strangers on the channel: their payloads are counted, and have no effect.

use crate::feed::Feed;
use crate::pair::{COMMON, Pair, health, is_up, node};
use support::eventually;
use support::servers::RedisServer;

/// The bytes of an envelope before its messages.
const HEADER_BYTES: usize = 41;

async fn linked(redis: &RedisServer) -> (Pair, Feed) {
    let [a, b] = [(); 2].map(|()| node(&redis.url()).build().unwrap());
    Pair::linked(a, b).await
}

pub(crate) fn publish(redis: &RedisServer, payload: &[u8]) {
    redis.command(&[b"PUBLISH", COMMON.as_bytes(), payload]);
}

/// The start of an envelope of the current version with messages, from an unknown node.
pub(crate) fn header(kind: u8, count: u32) -> Vec<u8> {
    let mut bytes = b"RCE\x02".to_vec();
    bytes.push(kind);
    bytes.extend([0xAB; 16]);
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    assert_eq!(bytes.len(), HEADER_BYTES);
    bytes
}

/// Checks that only the feed's messages were delivered or lost, and that no client was disconnected.
pub(crate) async fn nothing_else_happened(pair: &Pair, feed: &mut Feed) {
    pair.flow(feed).await;
    pair.account_for(feed).await;
    assert_eq!(pair.remote.len() as u64, feed.published);
    for node in [&pair.a, &pair.b] {
        assert_eq!(node.hub.stats().disconnected, 0);
        assert!(is_up(&node.hub), "{pair:?}");
        assert_eq!(health(&node.hub).reconnects, 0, "{pair:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_envelopes_are_counted_and_ignored() {
    let redis = RedisServer::start();
    let (pair, mut feed) = linked(&redis).await;
    let whole = [header(0, 1), vec![0], 2_u32.to_le_bytes().to_vec(), b"42".to_vec()].concat();
    let mut payloads =
        vec![b"".to_vec(), b"garbage".to_vec(), b"{\"number\":1}".to_vec(), vec![0; 99]];
    payloads.extend((1..whole.len()).map(|bytes| whole[..bytes].to_vec()));
    payloads.push(header(9, 0));
    // Actions have their kind in bits 4 and 5. A close with a forbidden code, with half a code, and with a reason
    // that is not UTF-8; a join with the binary flag; a leave with an unknown flag.
    for (flags, payload) in [
        (0x10, &b"\xEE\x03"[..]),
        (0x10, b"\xE8"),
        (0x10, b"\xE8\x03\xFF"),
        (0x21, b"r"),
        (0x70, b"r"),
    ] {
        let length = (payload.len() as u32).to_le_bytes();
        payloads.push([&header(0, 1)[..], &[flags], &length, payload].concat());
    }
    payloads.push([&header(0, u32::MAX)[..], &[0xFF; 64]].concat());
    payloads.iter().for_each(|payload| publish(&redis, payload));
    for node in [&pair.a, &pair.b] {
        let all = payloads.len() as u64;
        eventually("each is counted", || health(&node.hub).garbage == all).await;
        assert_eq!(health(&node.hub).unknown_version, 0, "{pair:?}");
    }
    nothing_else_happened(&pair, &mut feed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envelopes_of_an_unknown_version_are_counted_and_ignored() {
    let redis = RedisServer::start();
    let (pair, mut feed) = linked(&redis).await;
    for version in [0_u8, 1, 0xFF] {
        publish(&redis, &[b"RCE", &[version][..], &[0; 64]].concat());
    }
    for node in [&pair.a, &pair.b] {
        eventually("each is counted", || health(&node.hub).unknown_version == 3).await;
        assert_eq!(health(&node.hub).garbage, 0, "{pair:?}");
    }
    nothing_else_happened(&pair, &mut feed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_of_garbage_under_load_disturbs_no_node() {
    const PAYLOADS: u64 = 20_000;
    let redis = RedisServer::start();
    let (pair, mut feed) = linked(&redis).await;
    let mut sent = 0;
    let send_some = || {
        (0..200).for_each(|_| publish(&redis, b"garbage"));
        sent += 200;
        sent >= PAYLOADS
    };
    feed.run_until("all is sent", send_some).await;
    eventually("each is counted", || {
        let health = health(&pair.b.hub);
        // The node discards payloads unread when its queue has no space.
        health.garbage + health.overrun == PAYLOADS
    })
    .await;
    nothing_else_happened(&pair, &mut feed).await;
}
