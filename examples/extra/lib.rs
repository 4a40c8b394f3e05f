//! What the examples share. Also compiles, as doctests, the documentation pages whose programs need crates that the root package does not depend on.

use clap::ValueEnum;
use roomcast::Compression;

/// The argument of `--compression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompressionMode {
    /// All messages are plain.
    Off,
    /// Each message is compressed alone.
    Once,
    /// The messages to a room share a window.
    Shared,
}

impl CompressionMode {
    /// The setting for a hub that compresses also for few clients, so that two are enough to try it.
    pub fn setting(self) -> Option<Compression> {
        let compression = match self {
            Self::Off => return None,
            Self::Once => Compression::once(),
            Self::Shared => Compression::shared(),
        };
        Some(compression.min_recipients(1))
    }
}

#[cfg(doctest)]
#[doc = include_str!("../../src/docs/from_tokio_broadcast.md")]
struct FromTokioBroadcast;

#[cfg(doctest)]
#[doc = include_str!("../../src/docs/tuning.md")]
struct Tuning;
