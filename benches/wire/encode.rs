//! Encoding of frames.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use roomcast::engine::{FrameKind, frame};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// Measures the encoding of a payload as a frame, with header and payload in one allocation. For comparison: a
/// bare copy of the payload to a `Vec`, and tungstenite's frame, whose payload is shared until it is written.
pub(crate) fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode frame");
    for payload_bytes in [128, 4 << 10, 64 << 10] {
        let payload = Bytes::from(vec![b'x'; payload_bytes]);
        group.throughput(Throughput::Bytes(payload_bytes as u64));
        group.bench_function(format!("{payload_bytes} B"), |b| {
            b.iter(|| frame::encode(FrameKind::Text, black_box(&payload)));
        });
        group.bench_function(format!("{payload_bytes} B, Vec copy"), |b| {
            b.iter(|| black_box(&payload).to_vec());
        });
        group.bench_function(format!("{payload_bytes} B, tungstenite"), |b| {
            b.iter(|| {
                let payload = black_box(&payload).clone();
                let frame = Frame::message(payload, OpCode::Data(Data::Text), true);
                let mut out = Vec::with_capacity(frame.len());
                frame.format(&mut out).expect("a Vec accepts each write");
                out
            });
        });
    }
    group.finish();
}
