//! [`Deflater`]: compresses frames.

use super::deflate::Deflate;
use super::effort::Effort;
use super::window::TAIL_BYTES;
use crate::engine::{Compressor, frame};

/// A compressor with a window of its own.
pub(crate) struct Deflater {
    sized: BySize,
    message_bytes_min: usize,
}

/// For windows of up to so many bits. Smaller windows have smaller tables.
enum BySize {
    Twelve(Deflate<{ buffer_bytes(12) }, { 1 << 10 }>),
    Fourteen(Deflate<{ buffer_bytes(14) }, { 1 << 12 }>),
    Fifteen(Deflate<{ buffer_bytes(15) }, { 1 << 13 }>),
}

/// The buffer of a window: twice the window, so that a piece of a message fits beside it.
const fn buffer_bytes(window_bits: u8) -> usize {
    (2 << window_bits) + TAIL_BYTES
}

/// The mark of a compressed message in the first byte of a frame (RFC 7692, section 6).
const RSV1: u8 = 0x40;

impl Deflater {
    /// Makes a compressor whose window has 2 to the power of `window_bits` bytes (8 to 15).
    /// Messages of fewer than `message_bytes_min` bytes are copied.
    ///
    /// # Panics
    /// If `window_bits` is out of range.
    pub(crate) fn new(effort: Effort, window_bits: u8, message_bytes_min: usize) -> Self {
        assert!((8..=15).contains(&window_bits), "a window of {window_bits} bits");
        let sized = match window_bits {
            ..=12 => BySize::Twelve(Deflate::new(window_bits, effort)),
            13..=14 => BySize::Fourteen(Deflate::new(window_bits, effort)),
            _ => BySize::Fifteen(Deflate::new(window_bits, effort)),
        };
        Self { sized, message_bytes_min }
    }

    /// The memory that a compressor has on the heap, in bytes.
    pub(crate) fn memory(window_bits: u8) -> usize {
        match window_bits {
            ..=12 => Deflate::<{ buffer_bytes(12) }, { 1 << 10 }>::MEMORY,
            13..=14 => Deflate::<{ buffer_bytes(14) }, { 1 << 12 }>::MEMORY,
            _ => Deflate::<{ buffer_bytes(15) }, { 1 << 13 }>::MEMORY,
        }
    }

    /// Appends the compressed form of `message` to `out`, if it is shorter. Otherwise `out` stays as it
    /// was, and the message adds nothing to the window. A large message may empty the window.
    pub(super) fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) -> bool {
        match &mut self.sized {
            BySize::Twelve(deflate) => deflate.deflate(message, out),
            BySize::Fourteen(deflate) => deflate.deflate(message, out),
            BySize::Fifteen(deflate) => deflate.deflate(message, out),
        }
    }

    /// Appends `frame` to `coded`, compressed if that makes the payload shorter. Returns whether it
    /// did.
    fn compress_frame(&mut self, frame: &[u8], coded: &mut Vec<u8>) -> bool {
        let payload = frame::payload(frame);
        let start = coded.len();
        // The payload is written behind the header of the plain frame, which is at least as long.
        let (header, _) = frame.split_at(frame.len() - payload.len());
        coded.extend_from_slice(header);
        if payload.len() < self.message_bytes_min || !self.deflate(payload, coded) {
            coded.extend_from_slice(payload);
            return false;
        }
        seal(coded, start, header.len());
        true
    }
}

impl Compressor for Deflater {
    fn reset(&mut self) {
        match &mut self.sized {
            BySize::Twelve(deflate) => deflate.reset(),
            BySize::Fourteen(deflate) => deflate.reset(),
            BySize::Fifteen(deflate) => deflate.reset(),
        }
    }

    fn compress(&mut self, frames: &[u8], coded: &mut Vec<u8>) -> bool {
        let mut is_any_compressed = false;
        for frame in frame::each(frames) {
            is_any_compressed |= self.compress_frame(frame, coded);
        }
        is_any_compressed
    }
}

/// Completes the frame that begins at `start` with a plain header of `header_bytes`, and moves its
/// payload if the new length has a shorter header.
fn seal(coded: &mut Vec<u8>, start: usize, header_bytes: usize) {
    coded[start] |= RSV1;
    let payload = start + header_bytes;
    let payload_bytes = coded.len() - payload;
    let length = &mut coded[start + 1..payload];
    let shorter = if payload_bytes < 126 {
        length[0] = payload_bytes as u8;
        2
    } else if let Ok(bytes) = u16::try_from(payload_bytes) {
        length[0] = 126;
        length[1..3].copy_from_slice(&bytes.to_be_bytes());
        4
    } else {
        length[1..9].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        10
    };
    coded.drain(start + shorter..payload);
}
