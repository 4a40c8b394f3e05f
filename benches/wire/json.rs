//! Encoding and decoding of JSON.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use roomcast::engine::frame;
use roomcast::internals::encode_frame;
use roomcast::{Codec, FrameKind, Json, Never};
use serde::{Deserialize, Serialize};

/// A chat message.
#[derive(Serialize, Deserialize)]
struct Message {
    room: String,
    user: String,
    text: String,
    sent_ms: u64,
}

/// The history that a client gets when it joins a chat.
#[derive(Serialize, Deserialize)]
struct History {
    messages: Vec<Message>,
    is_complete: bool,
}

/// A message of 122 bytes of JSON.
fn small() -> Message {
    Message {
        room: "lobby".to_owned(),
        user: "someone".to_owned(),
        text: "The quick brown \"fox\" jumps over the lazy dog, twice.".to_owned(),
        sent_ms: 1_767_225_600_000,
    }
}

/// 33 small messages, in 4,092 bytes of JSON.
fn large() -> History {
    History { messages: (0..33).map(|_| small()).collect(), is_complete: true }
}

fn json_bytes<T: Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).expect("the message has a form in JSON")
}

/// Measures the encoding of a message as JSON into a reused buffer, and into a new frame, as a publish does.
/// For comparison: simd-json into a reused buffer, and serde_json followed by the framing of this crate.
pub(crate) fn encoding(c: &mut Criterion) {
    encode(c, "small", &small());
    encode(c, "large", &large());
}

fn encode<T: Serialize + for<'de> Deserialize<'de> + 'static>(
    c: &mut Criterion,
    size: &str,
    message: &T,
) {
    let mut group = c.benchmark_group(format!("encode JSON, {size}"));
    let mut out = json_bytes(message);
    group.throughput(Throughput::Bytes(out.len() as u64));
    group.bench_function("Json", |b| {
        b.iter(|| {
            out.clear();
            Json::new()
                .encode(black_box(message), &mut out)
                .expect("the message has a form in JSON");
            black_box(&out).len()
        });
    });
    group.bench_function("simd-json", |b| {
        b.iter(|| {
            out.clear();
            simd_json::serde::to_writer(&mut out, black_box(message))
                .expect("the message has a form in JSON");
            black_box(&out).len()
        });
    });
    group.bench_function("Json, to a frame", |b| {
        let json: &dyn Codec<T, Never> = &Json::new();
        b.iter(|| encode_frame(json, black_box(message)));
    });
    group.bench_function("serde_json, to a frame", |b| {
        b.iter(|| frame::encode(FrameKind::Text, &json_bytes(black_box(message))));
    });
    group.finish();
}

/// Measures the decoding of JSON. The codec overwrites its input, so the input is copied first, also for serde_json.
pub(crate) fn decoding(c: &mut Criterion) {
    decode(c, "small", &small());
    decode(c, "large", &large());
}

fn decode<T: Serialize + for<'de> Deserialize<'de>>(c: &mut Criterion, size: &str, message: &T) {
    let mut group = c.benchmark_group(format!("decode JSON, {size}"));
    let text = json_bytes(message);
    let mut payload = text.clone();
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("Json", |b| {
        b.iter(|| -> T {
            payload.copy_from_slice(black_box(&text));
            Json::new().decode(FrameKind::Text, &mut payload).expect("the text is a message")
        });
    });
    group.bench_function("serde_json", |b| {
        b.iter(|| -> T {
            payload.copy_from_slice(black_box(&text));
            serde_json::from_slice(&payload).expect("the text is a message")
        });
    });
    group.finish();
}
