//! A compressed message is inflated as a plain reading of the RFCs says, within its limit, however it is cut into
//! fragments and reads. A message without a final block is also what `miniz_oxide` makes of it.
//!
//! ```text
//! input = limit (1) · number of fragments (1) · their sizes (1 each) · the compressed message
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use roomcast::FrameKind;
use roomcast::internals::{Decoded, decode_compressed};
use roomcast_fuzz::naive_inflate::{Outcome, inflate};

/// Small limits, which short inputs reach, and limits around the buffer that a thread keeps.
const MESSAGE_BYTES_MAX: [usize; 6] = [300, 1, 2_000, 65_536, 65_537, 200_000];

const BINARY: u8 = 0x2;
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

fuzz_target!(|input: &[u8]| {
    let Some((&[limit, cuts], rest)) = input.split_first_chunk() else { return };
    let (sizes, message) = rest.split_at(usize::from(cuts).min(rest.len()));
    let limit = MESSAGE_BYTES_MAX[usize::from(limit) % MESSAGE_BYTES_MAX.len()];
    if message.len() > limit + limit / 8 + 1_024 {
        return;
    }
    let expected = inflate(message, limit);
    if let Outcome::Message(inflated) = &expected {
        check_by_miniz(message, inflated);
    }
    let bytes = fragments(message, sizes);
    for reads in [vec![&bytes[..]], bytes.chunks(1).collect(), bytes.chunks(7).collect()] {
        let events = decode_compressed(reads, limit, u32::MAX).concat();
        assert_eq!(events, [event(&expected, &events)], "limit of {limit}");
    }
});

fn event(expected: &Outcome, events: &[Decoded]) -> Decoded {
    let code = match expected {
        Outcome::Message(inflated) => {
            return Decoded::Message(FrameKind::Binary, inflated.clone());
        }
        Outcome::TooLarge => 1_009,
        Outcome::Broken => 1_007,
    };
    match events {
        [Decoded::Refused(close)] if u16::from(close.code) == code => {
            Decoded::Refused(close.clone())
        }
        _ => panic!("{events:?} instead of a close with {code}"),
    }
}

/// The message in masked fragments of these sizes, and the rest.
fn fragments(mut message: &[u8], sizes: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut first = BINARY | RSV1;
    for size in sizes {
        let (fragment, rest) = message.split_at(usize::from(*size).min(message.len()));
        append_frame(&mut bytes, first, fragment);
        (first, message) = (0, rest);
    }
    append_frame(&mut bytes, first | FIN, message);
    bytes
}

fn append_frame(bytes: &mut Vec<u8>, first: u8, payload: &[u8]) {
    bytes.push(first);
    match payload.len() {
        length @ ..126 => bytes.push(0x80 | length as u8),
        length => {
            bytes.push(0x80 | 126);
            let length = u16::try_from(length).expect("inputs are shorter than 64 KiB");
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

fn check_by_miniz(message: &[u8], inflated: &[u8]) {
    // With a final block behind it, the message is one deflate stream, unless it has final blocks of its own: then the
    // first stream is the front of the message.
    let stream = [message, &[0x00, 0x00, 0xFF, 0xFF, 0x03, 0x00]].concat();
    if !message.is_empty() {
        let by_miniz =
            decompress_to_vec_with_limit(&stream, inflated.len().max(1)).expect("it is valid");
        assert!(inflated.starts_with(&by_miniz));
    }
}
