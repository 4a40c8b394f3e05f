//! Signed payloads on the plain channel: the nodes share a key, and other programs sign with the key.

use hmac::{Hmac, KeyInit, Mac};
use roomcast::Local;
use sha2::Sha256;

use super::plain::{Bus, CHANNEL, assert_unharmed, builder, health, member, publish, publish_all};
use super::strangers::COMMON;

const KEY: &[u8] = b"sixteen bytes or";
const ANOTHER: &[u8] = b"more are to be random";

fn body(message: u32) -> String {
    format!(r#"{{"message":{message},"everyone":true}}"#)
}

fn hex(key: &[u8], parts: &[&[u8]]) -> String {
    let mut signature = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| signature.update(part));
    signature.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Signs a payload. Written from the documentation of the format.
fn signed(key: &[u8], channel: &str, body: &str) -> String {
    let input = ["plain\0", channel, "\0", body];
    format!("{} {body}", hex(key, &input.map(str::as_bytes)))
}

#[tokio::test]
async fn payload_signed_with_any_of_the_keys_is_delivered() {
    let bus = Local::new();
    let mut node = member(builder(bus.clone()).backplane_keys([KEY, ANOTHER])).await;
    for (message, key) in (1..).zip([KEY, ANOTHER]) {
        publish(&bus, signed(key, CHANNEL, &body(message))).await;
        assert_eq!(node.client.get::<u32>().await, message);
    }
    assert_eq!((health(node.hub()).plain_received, health(node.hub()).plain_rejected()), (2, 0));
    assert_eq!(health(node.hub()).unauthenticated, 0);
    assert_unharmed(&node);
}

#[tokio::test]
async fn unsigned_or_changed_payload_reaches_nobody_and_is_counted() {
    let bus = Local::new();
    let mut node = member(builder(bus.clone()).backplane_key(KEY)).await;
    let whole = signed(KEY, CHANNEL, &body(1));
    let (digits, text) = whole.split_at(64);
    let mut forged: Vec<Vec<u8>> = [
        body(1),
        signed(ANOTHER, CHANNEL, &body(1)),
        signed(b"", CHANNEL, &body(1)),
        signed(KEY, "chat:out", &body(1)),
        signed(KEY, "", &body(1)),
        signed(KEY, COMMON, &body(1)),
        format!("{}{text}", digits.to_uppercase()),
        format!("{digits}\n{}", body(1)),
        format!("{digits}{}", body(1)),
        format!("{digits} {text}"),
        format!(" {whole}"),
        format!("{whole}\n"),
        format!("{} {}", "0".repeat(64), body(1)),
        format!("{} {}", hex(KEY, &[CHANNEL.as_bytes(), body(1).as_bytes()]), body(1)),
    ]
    .map(String::into_bytes)
    .into();
    forged.extend((0..whole.len()).map(|length| whole.as_bytes()[..length].to_vec()));
    forged.extend((0..8 * whole.len()).map(|bit| {
        let mut changed = whole.clone().into_bytes();
        changed[bit / 8] ^= 1 << (bit % 8);
        changed
    }));
    let count = forged.len() as u64;
    publish_all(&bus, forged).await;
    publish(&bus, signed(KEY, CHANNEL, &body(2))).await;
    assert_eq!(node.client.get::<u32>().await, 2);
    let health = health(node.hub());
    assert_eq!((health.plain_unauthenticated, health.plain_rejected()), (count, count));
    assert_eq!((health.plain_received, health.unauthenticated), (1, 0));
    assert_unharmed(&node);
}

#[tokio::test]
async fn signed_malformed_payload_is_counted_as_malformed() {
    let bus = Local::new();
    let mut node = member(builder(bus.clone()).backplane_key(KEY).max_plain_bytes(200)).await;
    publish(&bus, signed(KEY, CHANNEL, "garbage")).await;
    publish(&bus, signed(KEY, CHANNEL, "")).await;
    publish(&bus, signed(KEY, CHANNEL, r#"{"message":"text","everyone":true}"#)).await;
    let of_bytes = |bytes: usize| format!("{:1$}", body(3), bytes - 65);
    for bytes in [201, 200] {
        let payload = signed(KEY, CHANNEL, &of_bytes(bytes));
        assert_eq!(payload.len(), bytes);
        publish(&bus, payload).await;
    }
    assert_eq!(node.client.get::<u32>().await, 3);
    let health = health(node.hub());
    assert_eq!((health.plain_malformed, health.plain_undecodable), (2, 1));
    assert_eq!((health.plain_too_large, health.plain_unauthenticated), (1, 0));
}

#[tokio::test]
async fn signature_of_one_kind_is_invalid_for_the_other_kind() {
    let bus = Bus::default();
    let mut node = member(builder(bus.clone()).backplane_key(KEY)).await;
    // The signature of an envelope covers the length of the channel's name, the name, and the signed bytes.
    let length = (CHANNEL.len() as u64).to_le_bytes();
    let digits = hex(KEY, &[&length, CHANNEL.as_bytes(), body(1).as_bytes()]);
    publish(&bus.bus, format!("{digits} {}", body(1))).await;
    publish(&bus.bus, signed(KEY, CHANNEL, &body(2))).await;
    assert_eq!(node.client.get::<u32>().await, 2);
    assert_eq!(health(node.hub()).plain_unauthenticated, 1);
    super::strangers::publish(&bus.bus, signed(KEY, COMMON, &body(3)).into_bytes()).await;
    assert_eq!(health(node.hub()).unauthenticated, 1);
    assert_unharmed(&node);
}

#[tokio::test]
async fn a_repetition_is_delivered_again() {
    let bus = Local::new();
    let mut node = member(builder(bus.clone()).backplane_key(KEY)).await;
    let recorded = signed(KEY, CHANNEL, &body(1));
    publish_all(&bus, [recorded.clone(), recorded]).await;
    assert_eq!(node.client.get_many::<u32>(2).await, [1, 1], "as the page on security says");
}

#[tokio::test]
async fn signed_payload_is_malformed_for_a_hub_without_a_key() {
    let bus = Local::new();
    let mut node = member(builder(bus.clone())).await;
    publish(&bus, signed(KEY, CHANNEL, &body(1))).await;
    publish(&bus, body(2)).await;
    assert_eq!(node.client.get::<u32>().await, 2);
    assert_eq!(health(node.hub()).plain_malformed, 1);
}
