//! Compression of the messages that leave: what a client can inflate, and the contract between a
//! shard and a compressor.
//!
//! The engine knows nothing of deflate. A [`Compressor`] turns a run of frames into frames that a
//! client with an inflater can read (RFC 7692). A compressor has a *window*: what it has compressed
//! before. A frame may refer to the window, so the inflater of a client can read the frame only if
//! it has read the same compressed frames before, and no others.

use std::fmt;
use std::num::NonZeroU8;
use std::sync::Arc;

/// The smallest window of permessage-deflate: 2 to the power of 8 bytes.
pub(super) const WINDOW_BITS_MIN: u8 = 8;

/// The largest window of deflate: 2 to the power of 15 bytes.
pub const WINDOW_BITS_MAX: u8 = 15;

/// The inflater of a client, as the handshake has settled it. One byte, because every connection
/// keeps it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientInflater(NonZeroU8);

impl ClientInflater {
    const KEEPS_WINDOW: u8 = 1 << 4;

    /// An inflater with a window of 2 to the power of `window_bits` bytes (8 to 15). If it
    /// `keeps_window`, a message may refer to the messages before.
    ///
    /// # Panics
    /// If `window_bits` is out of range.
    pub fn new(window_bits: u8, keeps_window: bool) -> Self {
        assert!(
            (WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&window_bits),
            "a window of {window_bits} bits"
        );
        let keeps = if keeps_window { Self::KEEPS_WINDOW } else { 0 };
        Self(NonZeroU8::new(window_bits | keeps).expect("at least 8"))
    }

    /// The inflater as a byte, which is not 0.
    pub(super) fn to_byte(self) -> u8 {
        self.0.get()
    }

    /// The inflater of which [`to_byte`](Self::to_byte) returned the byte; `None` for 0.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        NonZeroU8::new(byte).map(Self)
    }

    /// The base-2 logarithm of the window, in bytes.
    pub fn window_bits(self) -> u8 {
        self.0.get() & !Self::KEEPS_WINDOW
    }

    /// Whether a message may refer to the messages before.
    pub fn keeps_window(self) -> bool {
        self.0.get() & Self::KEEPS_WINDOW != 0
    }
}

impl fmt::Debug for ClientInflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientInflater")
            .field("window_bits", &self.window_bits())
            .field("keeps_window", &self.keeps_window())
            .finish()
    }
}

/// Compresses frames for clients that have read the same compressed frames.
pub trait Compressor: Send {
    /// Empties the window: the next frame refers to nothing before it.
    fn reset(&mut self);

    /// Appends to `coded` one frame for each frame of `frames`, a run of whole data frames. A frame
    /// is compressed, or copied if compressing does not pay. Returns whether a frame was compressed.
    /// A frame that was copied adds nothing to the window.
    fn compress(&mut self, frames: &[u8], coded: &mut Vec<u8>) -> bool;
}

/// Makes a compressor whose window has 2 to the power of the argument bytes.
pub type NewCompressor = Arc<dyn Fn(u8) -> Box<dyn Compressor> + Send + Sync>;

/// How a shard compresses.
#[derive(Clone)]
pub struct ShardCompression {
    /// Whether the messages of a room share a window. Otherwise each message is compressed alone.
    pub shares_windows: bool,
    /// The base-2 logarithm of the shared windows, in bytes.
    pub window_bits: u8,
    /// Messages to fewer clients with an inflater, in one shard, are not compressed.
    pub recipients_min: usize,
    /// The compressors for which the shard's share of the memory is enough. The shard has one stream
    /// in any case.
    pub compressors_max: usize,
    /// Whether messages to a single connection are compressed, each alone.
    pub compresses_direct: bool,
    /// Makes the compressors.
    pub new_compressor: NewCompressor,
}

impl fmt::Debug for ShardCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardCompression")
            .field("shares_windows", &self.shares_windows)
            .field("window_bits", &self.window_bits)
            .field("recipients_min", &self.recipients_min)
            .field("compressors_max", &self.compressors_max)
            .field("compresses_direct", &self.compresses_direct)
            .finish_non_exhaustive()
    }
}
