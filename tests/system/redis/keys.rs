//! Strangers on the channel of nodes that share a key: forged, changed and replayed payloads are counted, and reach no
//! client.

use std::process::Command;

use futures_util::StreamExt;
use redis::aio::PubSub;
use roomcast::Hub;

use crate::garbage::{header, nothing_else_happened, publish};
use crate::pair::{COMMON, Pair, health, is_up, node};
use support::programs::{Chat, example};
use support::servers::{Folder, RedisServer};
use support::{eventually, within};

const KEY: &[u8] = b"thirty-two bytes, if not random.";

/// A stranger who subscribes to the channel.
async fn listener(redis: &RedisServer) -> PubSub {
    let client = redis::Client::open(redis.url()).expect("the URL is right");
    let mut listener = client.get_async_pubsub().await.expect("the server is there");
    listener.subscribe(COMMON).await.expect("Redis lets everybody subscribe");
    listener
}

/// Returns the next payload with messages.
async fn recorded(listener: &mut PubSub) -> Vec<u8> {
    let mut messages = listener.on_message();
    loop {
        let message = within("an envelope", messages.next()).await.expect("the server is there");
        let payload = message.get_payload_bytes();
        if payload[4] == 0 {
            return payload.to_vec();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_changed_and_recorded_envelopes_reach_no_client() {
    let redis = RedisServer::start();
    let mut listener = listener(&redis).await;
    let [a, b] = [(); 2].map(|()| node(&redis.url()).backplane_key(KEY).build().unwrap());
    let (pair, mut feed) = Pair::linked(a, b).await;
    let genuine = recorded(&mut listener).await;

    let text = br#"{"number":99,"padding":""}"#;
    let unsigned = [&header(0, 1)[..], &[0], &(text.len() as u32).to_le_bytes(), text].concat();
    let mut forged =
        vec![b"garbage".to_vec(), unsigned.clone(), [&unsigned[..], &[0; 16]].concat()];
    forged.push(header(1, 0));
    forged.push(genuine[..genuine.len() - 16].to_vec());
    forged.push([&genuine[..], &[0]].concat());
    forged.extend((0..genuine.len()).map(|length| genuine[..length].to_vec()));
    forged.extend((0..8 * genuine.len()).map(|bit| {
        let mut changed = genuine.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        changed
    }));
    forged.iter().for_each(|payload| publish(&redis, payload));
    for node in [&pair.a, &pair.b] {
        let all = forged.len() as u64;
        eventually("each is counted", || health(&node.hub).unauthenticated >= all).await;
        assert_eq!(health(&node.hub).unauthenticated, all, "{pair:?}");
        assert_eq!((health(&node.hub).garbage, health(&node.hub).unknown_version), (0, 0));
    }

    (0..100).for_each(|_| publish(&redis, &genuine));
    eventually("each is counted", || health(&pair.b.hub).duplicates >= 100).await;
    assert_eq!(health(&pair.b.hub).duplicates, 100, "the envelope holds one message");
    nothing_else_happened(&pair, &mut feed).await;
    assert_eq!(health(&pair.b.hub).unauthenticated, forged.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_of_forged_envelopes_displaces_no_message() {
    const PAYLOADS: u64 = 20_000;
    let redis = RedisServer::start();
    let [a, b] = [(); 2].map(|()| node(&redis.url()).backplane_key(KEY).build().unwrap());
    let (pair, mut feed) = Pair::linked(a, b).await;
    let forged = [&b"RCE\x81"[..], &[0xFF; 500]].concat();
    let mut sent = 0;
    let send_some = || {
        (0..200).for_each(|_| publish(&redis, &forged));
        sent += 200;
        sent >= PAYLOADS
    };
    feed.run_until("all is sent", send_some).await;
    eventually("each is counted", || health(&pair.b.hub).unauthenticated == PAYLOADS).await;
    assert_eq!((health(&pair.b.hub).overrun, health(&pair.b.hub).lost), (0, 0), "{pair:?}");
    nothing_else_happened(&pair, &mut feed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_different_keys_form_two_clusters_on_one_channel() {
    let redis = RedisServer::start();
    let [a, b] = [(); 2].map(|()| node(&redis.url()).backplane_key(KEY).build().unwrap());
    let other = node(&redis.url()).backplane_key([7; 32]).build().unwrap();
    let (pair, mut feed) = Pair::linked(a, b).await;
    eventually("the other node is up", || is_up(&other)).await;
    nothing_else_happened(&pair, &mut feed).await;
    eventually("the other node counts foreign envelopes", || health(&other).unauthenticated > 0)
        .await;
    assert_eq!(health(&other).received, 0);
    eventually("the pair counts foreign envelopes", || health(&pair.a.hub).unauthenticated > 0)
        .await;
    eventually("the nodes know each other", || pair.a.hub.cluster().nodes().len() == 2).await;
    assert_eq!(other.cluster().nodes().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chat_reads_its_key_from_a_file() {
    let redis = RedisServer::start();
    let folder = Folder::new();
    let path = folder.path().join("key");
    std::fs::write(&path, [KEY, b"\nanother one that it accepts\n"].concat()).unwrap();
    let mut command = Command::new(example("load_server"));
    command.args(["--listen", "127.0.0.1:0", "--redis", &redis.url(), "--redis-key-file"]);
    let _chat = Chat::start(command.arg(&path)).expect("the load server starts");
    let node = |key: &[u8]| {
        let node = Hub::<u64>::builder().redis(redis.url(), "roomcast-chat");
        node.backplane_key(key).build().unwrap()
    };
    let (hub, stranger) = (node(KEY), node(&[7; 32]));
    eventually("the node with the key knows the chat", || hub.cluster().nodes().len() == 2).await;
    eventually("the stranger cannot read the chat's envelopes", || {
        health(&stranger).unauthenticated > 0
    })
    .await;
    assert_eq!(stranger.cluster().nodes().len(), 1);
}
