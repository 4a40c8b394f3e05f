//! Compressors for the shards of a test, and the client's side, which checks what it can read.
//!
//! The *telling* compressor writes into each frame to which window the frame refers, so the client's side notices each
//! frame that the client could not read, even if deflate would read it by chance.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use roomcast::engine::{ClientInflater, Compressor, ShardCompression, frame};

use super::dice::Dice;
use super::fake::Parsed;

/// A window that contains nothing.
const EMPTY: u64 = 0;

/// Smaller payloads are copied.
const PAYLOAD_MIN: usize = 8;

/// The bytes of a payload that a telling compressor has made: the window (8), its bits (1), the front of the message
/// (4), and its length (4).
const TOLD_BYTES: usize = 8 + 1 + 4 + 4;

struct Telling {
    window: u64,
    window_bits: u8,
}

/// The payload of a model: four bytes, and then the last of them again and again.
fn is_of_model(payload: &[u8]) -> bool {
    payload.len() >= 4 && payload[4..].iter().all(|byte| *byte == payload[3])
}

fn next_window(window: u64, payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (window, payload).hash(&mut hasher);
    hasher.finish() | 1
}

impl Compressor for Telling {
    fn reset(&mut self) {
        self.window = EMPTY;
    }

    fn compress(&mut self, frames: &[u8], coded: &mut Vec<u8>) -> bool {
        let mut is_any_compressed = false;
        for frame in frame::each(frames) {
            let payload = frame::payload(frame);
            if payload.len() < PAYLOAD_MIN || !is_of_model(payload) {
                coded.extend_from_slice(frame);
                continue;
            }
            coded.extend_from_slice(&[frame[0] | 0x40, TOLD_BYTES as u8]);
            coded.extend_from_slice(&self.window.to_be_bytes());
            coded.push(self.window_bits);
            coded.extend_from_slice(&payload[..4]);
            coded.extend_from_slice(&(payload.len() as u32).to_be_bytes());
            self.window = next_window(self.window, payload);
            is_any_compressed = true;
        }
        is_any_compressed
    }
}

/// The compressors that a model uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Coding {
    shares_windows: bool,
    recipients_min: usize,
    compressors_max: usize,
    is_direct: bool,
    window_bits: u8,
    pub(crate) is_deflate: bool,
}

impl Coding {
    pub(crate) fn draw(dice: &mut impl Dice) -> Self {
        Self {
            shares_windows: dice.draw(0..4) > 0,
            recipients_min: dice.pick([1, 1, 2, 4]),
            compressors_max: dice.pick([1, 3, 4, 100]),
            is_direct: dice.draw(0..4) == 0,
            window_bits: dice.pick([15, 15, 12, 9]),
            is_deflate: cfg!(feature = "deflate") && dice.flip(),
        }
    }

    /// Messages to everyone and to rooms share windows.
    pub(crate) fn shared() -> Self {
        Self {
            shares_windows: true,
            recipients_min: 1,
            compressors_max: 100,
            is_direct: false,
            window_bits: 15,
            is_deflate: false,
        }
    }

    /// Each message stands alone.
    pub(crate) fn once() -> Self {
        Self { shares_windows: false, ..Self::shared() }
    }

    pub(crate) fn recipients_min(self, recipients_min: usize) -> Self {
        Self { recipients_min, ..self }
    }

    /// So many streams at most.
    pub(crate) fn streams_max(self, streams: usize) -> Self {
        Self { compressors_max: streams + 2, ..self }
    }

    pub(crate) fn direct(self) -> Self {
        Self { is_direct: true, ..self }
    }

    pub(crate) fn build(self) -> ShardCompression {
        let is_deflate = self.is_deflate;
        ShardCompression {
            shares_windows: self.shares_windows,
            window_bits: self.window_bits,
            recipients_min: self.recipients_min,
            compressors_max: self.compressors_max,
            compresses_direct: self.is_direct,
            new_compressor: Arc::new(move |window_bits| match is_deflate {
                false => Box::new(Telling { window: EMPTY, window_bits }),
                true => deflater(window_bits),
            }),
        }
    }
}

#[cfg(feature = "deflate")]
fn deflater(window_bits: u8) -> Box<dyn Compressor> {
    roomcast::internals::deflater(false, window_bits, PAYLOAD_MIN)
}

#[cfg(not(feature = "deflate"))]
fn deflater(_: u8) -> Box<dyn Compressor> {
    unreachable!("the feature `deflate` is off")
}

/// An inflater for a client of a model, or none.
pub(crate) fn draw_inflater(dice: &mut impl Dice) -> Option<ClientInflater> {
    let window_bits = dice.pick([15, 15, 15, 15, 12, 9]);
    let keeps_window = dice.draw(0..5) > 0;
    (dice.draw(0..5) > 0).then(|| ClientInflater::new(window_bits, keeps_window))
}

/// The inflater of a client.
pub(crate) struct Inflating {
    inflater: Option<ClientInflater>,
    told: u64,
    #[cfg(feature = "deflate")]
    deflate: Option<zlib_rs::Inflate>,
}

impl Inflating {
    pub(crate) fn new(inflater: Option<ClientInflater>) -> Self {
        Self {
            inflater,
            told: EMPTY,
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }

    /// Inflates the payload of a frame, if it is compressed.
    pub(crate) fn inflate(&mut self, mut frame: Parsed, is_deflate: bool) -> Parsed {
        if !frame.is_compressed {
            return frame;
        }
        assert!(frame.is_data(), "a control frame is never compressed");
        let inflater = self.inflater.expect("a client that has not asked gets plain messages");
        frame.payload = match is_deflate {
            false => self.inflate_told(inflater, &frame.payload),
            true => self.inflate_deflate(inflater, &frame.payload),
        };
        frame
    }

    fn inflate_told(&mut self, inflater: ClientInflater, coded: &[u8]) -> Vec<u8> {
        let (window, rest) = coded.split_first_chunk().expect("a window");
        let window = u64::from_be_bytes(*window);
        assert!(rest[0] <= inflater.window_bits(), "the window of the client is too small");
        let is_read = window == EMPTY || inflater.keeps_window() && window == self.told;
        assert!(is_read, "the frame refers to a window that the client does not have");
        let length = u32::from_be_bytes(rest[5..].try_into().expect("a length")) as usize;
        let mut payload = rest[1..5].to_vec();
        payload.resize(length, rest[4]);
        self.told = next_window(window, &payload);
        payload
    }

    #[cfg(not(feature = "deflate"))]
    fn inflate_deflate(&mut self, _: ClientInflater, _: &[u8]) -> Vec<u8> {
        unreachable!("the feature `deflate` is off")
    }

    #[cfg(feature = "deflate")]
    fn inflate_deflate(&mut self, inflater: ClientInflater, coded: &[u8]) -> Vec<u8> {
        use zlib_rs::{Inflate, InflateFlush};
        let new = || Inflate::new(false, inflater.window_bits());
        if !inflater.keeps_window() {
            self.deflate = None;
        }
        let deflate = self.deflate.get_or_insert_with(new);
        let input = [coded, &[0, 0, 0xFF, 0xFF]].concat();
        let (start_in, mut payload) = (deflate.total_in(), Vec::new());
        loop {
            // Small pieces, so that nothing further back than the window is at hand.
            let mut piece = [0; 64];
            let start_out = deflate.total_out();
            let taken = (deflate.total_in() - start_in) as usize;
            let result = deflate.decompress(&input[taken..], &mut piece, InflateFlush::SyncFlush);
            assert!(result.is_ok(), "{result:?}");
            let made = (deflate.total_out() - start_out) as usize;
            payload.extend_from_slice(&piece[..made]);
            if made < piece.len() {
                assert_eq!(deflate.total_in() - start_in, input.len() as u64);
                return payload;
            }
        }
    }
}
