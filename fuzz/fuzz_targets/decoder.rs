//! The frame decoder returns the same events for the same bytes, however the network splits them into reads. Each
//! event comes with the read that holds its last byte.
//!
//! ```text
//! input = limits (1) · number of cuts (1) · their sizes (1 each) · the client's bytes
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::internals::{Decoded, decode};
use roomcast::{CloseCode, FrameKind};

/// Small limits, which short inputs reach, and a limit that needs a length of 64 bits.
const MESSAGE_BYTES_MAX: [usize; 5] = [300, 0, 1, 125, 70_000];
const FRAGMENTS_MAX: [u32; 3] = [u32::MAX, 2, 5];

fuzz_target!(|input: &[u8]| {
    let Some((&[limits, cuts], rest)) = input.split_first_chunk() else { return };
    let (sizes, bytes) = rest.split_at(usize::from(cuts).min(rest.len()));
    let message_bytes_max = MESSAGE_BYTES_MAX[usize::from(limits) % 5];
    let fragments_max = FRAGMENTS_MAX[usize::from(limits / 5) % 3];

    let bytewise = decode(bytes.chunks(1), message_bytes_max, fragments_max);
    check(&bytewise.concat(), bytes.len(), message_bytes_max);
    for reads in [vec![bytes], cut(bytes, sizes)] {
        let got = decode(reads.iter().copied(), message_bytes_max, fragments_max);
        assert_eq!(got, gathered(&bytewise, &reads));
    }
});

/// Splits the bytes into reads of these sizes, some of them empty, and the rest.
fn cut<'a>(mut bytes: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    let mut reads = Vec::new();
    for &size in sizes {
        let (read, rest) = bytes.split_at(usize::from(size).min(bytes.len()));
        reads.push(read);
        bytes = rest;
    }
    reads.push(bytes);
    reads
}

/// The expected events of each read: the events of its single bytes.
fn gathered(bytewise: &[Vec<Decoded>], reads: &[&[u8]]) -> Vec<Vec<Decoded>> {
    let mut rest = bytewise;
    let mut gathered = Vec::new();
    for read in reads {
        let (here, after) = rest.split_at(read.len().min(rest.len()));
        let events = here.concat();
        let is_over = events.last().is_some_and(is_last);
        gathered.push(events);
        rest = after;
        if is_over {
            break;
        }
    }
    gathered
}

fn is_last(event: &Decoded) -> bool {
    matches!(event, Decoded::Close(_) | Decoded::Refused(_))
}

/// Checks the guarantees that a session relies on.
fn check(events: &[Decoded], bytes: usize, message_bytes_max: usize) {
    let mut payload_bytes = 0;
    for (at, event) in events.iter().enumerate() {
        assert!(!is_last(event) || at + 1 == events.len(), "no event follows the end");
        payload_bytes += match event {
            Decoded::Message(kind, payload) => {
                assert!(payload.len() <= message_bytes_max);
                assert!(*kind == FrameKind::Binary || str::from_utf8(payload).is_ok());
                payload.len()
            }
            Decoded::Ping(payload) | Decoded::Pong(payload) => {
                assert!(payload.len() <= 125);
                payload.len()
            }
            Decoded::Close(close) if close.code == CloseCode::NO_STATUS => {
                assert!(close.reason.is_empty());
                0
            }
            Decoded::Close(close) => {
                assert!(close.code.is_sendable() && close.reason.len() <= 123);
                close.reason.len()
            }
            Decoded::Refused(close) => {
                assert!([1002, 1007, 1008, 1009].contains(&u16::from(close.code)));
                0
            }
        };
    }
    assert!(payload_bytes <= bytes, "payloads are no longer than the input");
}
