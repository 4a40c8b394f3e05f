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
        assert!((8..=WINDOW_BITS_MAX).contains(&window_bits), "a window of {window_bits} bits");
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
    /// is compressed, or copied if compressing is of no use. A copied frame does not change the
    /// window.
    fn compress(&mut self, frames: &[u8], coded: &mut Vec<u8>);
}

/// Makes a compressor whose window has 2 to the power of the argument bytes.
pub type NewCompressor = Arc<dyn Fn(u8) -> Box<dyn Compressor> + Send + Sync>;

/// How a shard compresses.
#[derive(Clone)]
pub struct Compression {
    /// Whether the messages of a room share a window. Otherwise each message is compressed alone.
    pub shares_windows: bool,
    /// The base-2 logarithm of the shared windows, in bytes.
    pub window_bits: u8,
    /// Messages to fewer clients with an inflater, in one shard, are not compressed.
    pub recipients_min: usize,
    /// The most compressors of the shard.
    pub compressors_max: usize,
    /// Whether messages to a single connection are compressed, each alone.
    pub is_direct: bool,
    /// Makes the compressors.
    pub new_compressor: NewCompressor,
}

impl fmt::Debug for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compression")
            .field("shares_windows", &self.shares_windows)
            .field("window_bits", &self.window_bits)
            .field("recipients_min", &self.recipients_min)
            .field("compressors_max", &self.compressors_max)
            .field("is_direct", &self.is_direct)
            .finish_non_exhaustive()
    }
}
