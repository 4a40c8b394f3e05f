//! The compressor against inflaters that it does not share a line with.

use zlib_rs::{Inflate, InflateFlush};

use super::effort::Effort;
use super::frames::Deflater;
use crate::engine::{Compressor, FrameKind, frame};

/// What the receiver of a compressed message appends (RFC 7692, section 7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

const WINDOW_BITS: std::ops::RangeInclusive<u8> = 8..=15;

const EFFORTS: [Effort; 2] = [Effort::FAST, Effort::THOROUGH];

/// A compressor, and the inflater of a client that gets all that it compresses.
struct Pair {
    deflater: Deflater,
    inflate: Inflate,
    window_bits: u8,
}

impl Pair {
    fn new(effort: Effort, window_bits: u8) -> Self {
        let inflate = Inflate::new(false, window_bits);
        Self { deflater: Deflater::new(effort, window_bits, 0), inflate, window_bits }
    }

    /// Empties both windows.
    fn reset(&mut self) {
        self.deflater.reset();
        self.inflate = Inflate::new(false, self.window_bits);
    }

    /// Checks that the client gets `message`. Returns the bytes of the compressed form, if there
    /// is one.
    fn send(&mut self, message: &[u8]) -> Option<usize> {
        let mut coded = Vec::new();
        if !self.deflater.deflate(message, &mut coded) {
            assert!(coded.is_empty(), "what was written is taken back");
            return None;
        }
        assert!(coded.len() < message.len());
        let bytes = coded.len();
        coded.extend(TAIL);
        let inflated = inflate(&mut self.inflate, &coded, message.len());
        assert!(inflated == message, "{} bytes, {} bits", message.len(), self.window_bits);
        Some(bytes)
    }
}

/// Inflates all of `coded`, byte by byte: so a distance beyond the window is an error. In one
/// piece, the inflater would find such bytes in its output.
fn inflate(inflate: &mut Inflate, mut coded: &[u8], bytes_max: usize) -> Vec<u8> {
    let mut inflated = Vec::with_capacity(bytes_max);
    loop {
        let (taken, made) = (inflate.total_in(), inflate.total_out());
        let mut byte = [0];
        let result = inflate.decompress(coded, &mut byte, InflateFlush::NoFlush);
        let is_made = inflate.total_out() > made;
        assert!(result.is_ok() || coded.is_empty(), "{result:?} after {made} bytes");
        coded = &coded[(inflate.total_in() - taken) as usize..];
        if is_made {
            inflated.push(byte[0]);
        } else if coded.is_empty() {
            return inflated;
        }
        assert!(inflated.len() <= bytes_max);
    }
}

/// Random, structured and adversarial messages.
fn message(random: &mut fastrand::Rng, bytes: usize) -> Vec<u8> {
    let kind = random.u8(..8);
    let period = random.usize(1..=40_000);
    let noise = |random: &mut fastrand::Rng| random.u8(..);
    match kind {
        0 => vec![random.u8(..); bytes],
        1 => (0..bytes).map(|_| noise(random)).collect(),
        2 => (0..bytes).map(|_| random.u8(b'a'..b'd')).collect(),
        // Matches at one distance, which may be the window, or beyond.
        3 => {
            let pattern: Vec<_> = (0..period).map(|_| noise(random)).collect();
            pattern.into_iter().cycle().take(bytes).collect()
        }
        // Compressible and incompressible parts.
        4 => (0..bytes).map(|at| if at / 700 % 2 == 0 { noise(random) } else { 7 }).collect(),
        // Codes of very different lengths.
        5 => (0..bytes).map(|_| random.u64(..).trailing_zeros() as u8 * 3).collect(),
        _ => json(random, bytes),
    }
}

fn json(random: &mut fastrand::Rng, bytes: usize) -> Vec<u8> {
    let mut text = String::from("[");
    while text.len() < bytes {
        let (id, price) = (random.u32(..), random.u32(10_000..10_500));
        text += &format!(r#"{{"type":"trade","id":{id},"price":"{price}.5","side":"buy"}},"#);
    }
    text.as_bytes()[..bytes].to_vec()
}

#[test]
fn a_client_gets_the_messages_of_any_sequence() {
    let mut random = fastrand::Rng::with_seed(1);
    for window_bits in WINDOW_BITS {
        for effort in EFFORTS {
            let mut pair = Pair::new(effort, window_bits);
            for _ in 0..100 {
                if random.u8(..) < 16 {
                    pair.reset();
                }
                let bits = random.u32(0..14);
                let bytes = random.usize(..=1 << bits);
                pair.send(&message(&mut random, bytes));
            }
        }
    }
}

#[test]
fn a_message_of_any_size_is_inflated_to_itself() {
    let mut random = fastrand::Rng::with_seed(2);
    let sizes = [0, 1, 2, 3, 4, 257, 258, 259, 1024, 1025];
    let large = [32_767, 32_768, 32_769, 65_535, 65_536];
    for window_bits in WINDOW_BITS {
        for effort in EFFORTS {
            let mut pair = Pair::new(effort, window_bits);
            for bytes in sizes.into_iter().chain(large) {
                pair.send(&message(&mut random, bytes));
            }
        }
    }
    Pair::new(Effort::THOROUGH, 9)
        .send(&json(&mut random, 1 << 20))
        .expect("trades resemble each other");
}

#[test]
fn a_match_reaches_to_the_end_of_the_window_and_no_further() {
    for window_bits in WINDOW_BITS {
        let window = 1 << window_bits;
        for effort in EFFORTS {
            for (distance, is_found) in [(window - 1, true), (window, true), (window + 1, false)] {
                let mut random = fastrand::Rng::with_seed(3);
                let mut pair = Pair::new(effort, window_bits);
                // Noise that a byte of its own lets compress, so that it enters the window.
                let marker: Vec<_> = (0..100).map(|_| random.u8(..)).collect();
                let mut filler = vec![b'.'; distance];
                filler[..100].copy_from_slice(&marker);
                pair.send(&filler).expect("most bytes are the same");
                let bytes = pair.send(&marker).unwrap_or(marker.len());
                let what = format!("{bytes} bytes, {window_bits} bits, a distance of {distance}");
                assert_eq!(bytes < 10, is_found, "{what}");
            }
        }
    }
}

#[test]
fn nothing_before_a_reset_is_referred_to() {
    for window_bits in WINDOW_BITS {
        let mut pair = Pair::new(Effort::FAST, window_bits);
        let mut random = fastrand::Rng::with_seed(4);
        let message = json(&mut random, 200);
        let alone = pair.send(&message).expect("the message repeats itself");
        let again = pair.send(&message).expect("it is known");
        assert!(again < 16, "{again} bytes");
        pair.reset();
        assert_eq!(pair.send(&message), Some(alone));
    }
}

#[test]
fn messages_are_compressed_for_as_long_as_positions_wrap() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut pair = Pair::new(Effort::FAST, 15);
    let message = json(&mut random, 1_000);
    let alone = pair.send(&message).expect("the message repeats itself");
    for _ in 0..300 {
        // 700 bytes each, so that the window ends everywhere in the buffer.
        pair.send(&json(&mut random, 700)).expect("trades resemble each other");
        let bytes = pair.send(&message).expect("the message repeats itself");
        assert!(bytes < alone / 4, "{bytes} bytes, first {alone}");
    }
}

#[test]
fn a_message_that_would_grow_is_refused_and_leaves_the_window_as_it_was() {
    let mut random = fastrand::Rng::with_seed(6);
    for bytes in [0, 1, 2, 50, 2_000, 70_000] {
        let mut pair = Pair::new(Effort::FAST, 15);
        let known = json(&mut random, 400);
        pair.send(&known).expect("the message repeats itself");
        let noise: Vec<_> = (0..bytes).map(|_| random.u8(..)).collect();
        assert_eq!(pair.send(&noise), None, "{bytes} bytes of noise");
        let again = pair.send(&known).expect("the message repeats itself");
        // 70,000 bytes have overwritten the window.
        assert_eq!(again < 16, bytes < 32_768, "{again} bytes after {bytes} bytes of noise");
    }
}

#[test]
fn incompressible_parts_are_stored() {
    let mut random = fastrand::Rng::with_seed(7);
    let noise: Vec<_> = (0..200_000).map(|_| random.u8(..)).collect();
    for (before, after) in [(0, 5_000), (5_000, 0), (5_000, 5_000)] {
        let message = [vec![b'a'; before], noise.clone(), vec![b'b'; after]].concat();
        let bytes = Pair::new(Effort::FAST, 15).send(&message).expect("a part is compressible");
        // The blocks at the seams hold some of each.
        assert!(bytes < noise.len() + 600, "{bytes} bytes");
    }
}

#[test]
fn codes_made_for_a_block_save_bytes() {
    let mut random = fastrand::Rng::with_seed(8);
    let digits: Vec<_> = (0..20_000).map(|_| random.u8(b'0'..=b'9')).collect();
    let bytes = Pair::new(Effort::FAST, 15).send(&digits).expect("a digit needs no byte");
    assert!(bytes < 10_000, "{bytes} bytes");
}

#[test]
fn frames_are_compressed_or_copied() {
    let text = |bytes| frame::encode(FrameKind::Text, &vec![b'x'; bytes]);
    let plain = [
        text(31),
        text(32),
        frame::encode(FrameKind::Binary, b"\x01\x7F\x90 no byte comes twice: 364A"),
        frame::encode(FrameKind::Binary, &vec![0; 300]),
        frame::encode(FrameKind::Binary, &vec![0; 70_000]),
        frame::encode(FrameKind::Text, b""),
    ];
    let mut coded = b"before".to_vec();
    Deflater::new(Effort::FAST, 15, 32).compress(&plain.concat(), &mut coded);
    let coded = bytes::Bytes::from(coded.split_off(6));
    let frames: Vec<_> = frame::split(&coded).collect();
    assert_eq!(frames.len(), plain.len());
    for at in [0, 2, 5] {
        assert_eq!(frames[at], plain[at], "frame {at} is copied");
    }
    for (at, first) in [(1, 0xC1), (3, 0xC2), (4, 0xC2)] {
        assert_eq!(frames[at][0], first, "frame {at} is marked, its kind is the same");
        assert!(frames[at].len() < plain[at].len());
    }
    let mut inflater = Inflate::new(false, 15);
    for at in [1, 3, 4] {
        let payload = [frame::payload(&frames[at]), &TAIL].concat();
        let expected = frame::payload(&plain[at]);
        assert_eq!(inflate(&mut inflater, &payload, expected.len()), expected);
    }
}

#[test]
fn compressed_frames_have_the_shortest_header() {
    let mut random = fastrand::Rng::with_seed(9);
    // Digits become about half as long. So the lengths of the headers change in between.
    for bytes in [100, 125, 126, 200, 280, 300, 65_536, 120_000, 150_000, 200_000] {
        let digits: Vec<_> = (0..bytes).map(|_| random.u8(b'0'..=b'3')).collect();
        let mut coded = Vec::new();
        let plain = frame::encode(FrameKind::Text, &digits);
        Deflater::new(Effort::FAST, 15, 0).compress(&plain, &mut coded);
        let payload = frame::payload(&coded);
        assert_eq!(coded.len(), frame::bytes_for(payload.len()), "{bytes} bytes");
        let payload = [payload, &TAIL].concat();
        assert!(inflate(&mut Inflate::new(false, 15), &payload, bytes) == digits);
    }
}

#[test]
fn the_memory_of_a_compressor_is_bounded() {
    assert!(Deflater::memory(15) <= 160 * 1024);
    assert!(Deflater::memory(14) <= 96 * 1024);
    assert!(Deflater::memory(9) <= 40 * 1024);
}
