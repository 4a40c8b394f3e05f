//! Decoding of frames.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use fastwebsockets::{FragmentCollector, Role, unmask};
use futures_util::FutureExt;
use roomcast::internals::FrameDecoder;
use tokio_tungstenite::tungstenite;

use crate::client::{MASK, Script, scripts};
use crate::feed::Feed;

/// The limit of a message; larger than all messages here.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Measures the decoding of text messages: headers, masks, fragments, and the check for UTF-8.
///
/// Decoding overwrites its input, so each read is copied into a buffer first, as a kernel would do.
/// Decoders that read from a stream get one that reads from memory. For comparison: tungstenite and
/// fastwebsockets, with their defaults (tungstenite clears its read buffer of 128 KiB for each read);
/// and a lower bound, a copy that is only unmasked.
pub(crate) fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode frames");
    for script in scripts() {
        group.throughput(Throughput::Bytes(script.bytes() as u64));
        ours(&mut group, &script);
        by_tungstenite(&mut group, &script);
        by_fastwebsockets(&mut group, &script);
        copied(&mut group, &script);
    }
    group.finish();
}

fn buffer_for(script: &Script) -> Vec<u8> {
    vec![0; script.reads.iter().map(Vec::len).max().unwrap_or_default()]
}

fn ours(group: &mut BenchmarkGroup<'_, WallTime>, script: &Script) {
    group.bench_function(script.name, |b| {
        let mut decoder = FrameDecoder::new(MESSAGE_BYTES_MAX);
        let mut buffer = buffer_for(script);
        b.iter(|| {
            let mut messages = 0;
            for read in black_box(&script.reads) {
                let buffer = &mut buffer[..read.len()];
                buffer.copy_from_slice(read);
                let see = |kind, payload: &mut [u8]| {
                    black_box((kind, payload));
                    messages += 1;
                };
                decoder.decode(buffer, see).expect("the frames are valid");
            }
            assert_eq!(messages, script.messages);
        });
    });
}

fn by_tungstenite(group: &mut BenchmarkGroup<'_, WallTime>, script: &Script) {
    use tungstenite::protocol::{Role, WebSocket};

    group.bench_function(format!("{}, tungstenite", script.name), |b| {
        let mut socket = WebSocket::from_raw_socket(Feed::new(script), Role::Server, None);
        b.iter(|| {
            for _ in 0..script.messages {
                let message = socket.read().expect("the frames are valid");
                assert!(black_box(message).is_text());
            }
        });
    });
}

fn by_fastwebsockets(group: &mut BenchmarkGroup<'_, WallTime>, script: &Script) {
    group.bench_function(format!("{}, fastwebsockets", script.name), |b| {
        let socket = fastwebsockets::WebSocket::after_handshake(Feed::new(script), Role::Server);
        let mut socket = FragmentCollector::new(socket);
        b.iter(|| {
            for _ in 0..script.messages {
                let frame =
                    socket.read_frame().now_or_never().expect("the reads hold the whole message");
                black_box(frame.expect("the frames are valid"));
            }
        });
    });
}

fn copied(group: &mut BenchmarkGroup<'_, WallTime>, script: &Script) {
    group.bench_function(format!("{}, copied and unmasked", script.name), |b| {
        let mut buffer = buffer_for(script);
        b.iter(|| {
            for read in black_box(&script.reads) {
                let buffer = &mut buffer[..read.len()];
                buffer.copy_from_slice(read);
                unmask(buffer, MASK);
                black_box(buffer);
            }
        });
    });
}
