//! Envelopes: the format of messages between nodes.

use std::hint::black_box;

use bytes::{Buf, BufMut, Bytes};
use criterion::{Criterion, Throughput};
use roomcast::engine::{FrameKind, frame};
use roomcast::internals::{each_message, pack};

const MESSAGES: usize = 64;

const TEXT: &[u8; 128] = &[b'x'; 128];

/// The rooms of the messages.
fn rooms() -> Vec<String> {
    (0..MESSAGES).map(|room| format!("room{room}")).collect()
}

/// Measures the packing of 64 frames of 128 bytes into one envelope. For comparison: names and texts with only
/// their lengths between them, and a list of pairs in JSON.
pub(crate) fn packing(c: &mut Criterion) {
    let mut group = c.benchmark_group("pack 64 messages of 128 B");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    let rooms = rooms();
    let frames = vec![frame::encode(FrameKind::Text, TEXT); MESSAGES];
    group.bench_function("envelope", |b| {
        b.iter(|| pack(black_box(&rooms).iter().map(String::as_str).zip(black_box(&frames))));
    });
    let texts = texts();
    group.bench_function("concatenation", |b| {
        b.iter(|| concatenate(black_box(&rooms), black_box(&texts)));
    });
    group.bench_function("serde_json", |b| {
        b.iter(|| to_json(black_box(&rooms), black_box(&texts)));
    });
    group.finish();
}

/// Measures the check of an envelope and a pass over its messages, in place. For comparison: the same two
/// formats as in [`packing`].
pub(crate) fn reading(c: &mut Criterion) {
    let mut group = c.benchmark_group("read 64 messages of 128 B");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    let (rooms, texts) = (rooms(), texts());
    let frames = vec![frame::encode(FrameKind::Text, TEXT); MESSAGES];
    let envelope = pack(rooms.iter().map(String::as_str).zip(&frames));
    group.bench_function("envelope", |b| {
        b.iter(|| {
            let see = |room: &str, payload: &[u8]| {
                black_box((room, payload));
            };
            assert!(each_message(black_box(&envelope), see));
        });
    });
    let concatenated = concatenate(&rooms, &texts);
    group.bench_function("concatenation", |b| {
        b.iter(|| {
            let mut rest = &black_box(&concatenated)[..];
            while !rest.is_empty() {
                let room = str::from_utf8(take(&mut rest)).expect("a name");
                black_box((room, take(&mut rest)));
            }
        });
    });
    let json = to_json(&rooms, &texts);
    group.bench_function("serde_json", |b| {
        b.iter(|| {
            let messages: Vec<(&str, &str)> =
                serde_json::from_slice(black_box(&json)).expect("pairs of strings");
            for message in messages {
                black_box(message);
            }
        });
    });
    group.finish();
}

/// Measures the signing of an envelope, and the check of a signature: the cost of a key for each envelope, in
/// addition to packing and reading.
pub(crate) fn signing(c: &mut Criterion) {
    use criterion::{BatchSize, BenchmarkId};
    use roomcast::internals::Signer;

    let mut group = c.benchmark_group("sign messages of 128 B");
    let signer = Signer::new(&[7; 32]);
    let frame = frame::encode(FrameKind::Text, TEXT);
    for messages in [1, 64, 1_800] {
        let envelope = Vec::from(pack((0..messages).map(|_| ("room", &frame))));
        group.throughput(Throughput::Bytes(envelope.len() as u64));
        group.bench_function(BenchmarkId::new("sign", messages), |b| {
            let setup = || {
                // With spare capacity for the signature.
                let mut copy = Vec::with_capacity(envelope.len() + 16);
                copy.extend_from_slice(&envelope);
                copy
            };
            let sign = |envelope| signer.seal("channel", envelope);
            b.iter_batched(setup, sign, BatchSize::SmallInput);
        });
        let payload = signer.seal("channel", envelope);
        group.bench_function(BenchmarkId::new("check", messages), |b| {
            b.iter(|| assert!(signer.open("channel", black_box(&payload).clone()).is_some()));
        });
    }
    group.finish();
}

fn texts() -> Vec<String> {
    vec![str::from_utf8(TEXT).expect("ASCII").to_owned(); MESSAGES]
}

fn concatenate(rooms: &[String], texts: &[String]) -> Bytes {
    let mut out = Vec::new();
    for part in rooms.iter().zip(texts).flat_map(|(room, text)| [room, text]) {
        out.put_u32_le(part.len() as u32);
        out.put_slice(part.as_bytes());
    }
    out.into()
}

fn take<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let bytes = rest.get_u32_le() as usize;
    rest.split_off(..bytes).expect("as long as it was written")
}

fn to_json(rooms: &[String], texts: &[String]) -> Bytes {
    let messages: Vec<_> = rooms.iter().zip(texts).collect();
    serde_json::to_vec(&messages).expect("strings").into()
}
