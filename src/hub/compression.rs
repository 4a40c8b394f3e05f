//! [`Compression`]: the settings of compression (RFC 7692).

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::BuildError;
use super::UpgradeRequest;
use super::builder::in_range;
use super::stats::HubCounters;
use crate::engine::{self, Compressor, WINDOW_BITS_MAX};
use crate::ws::{Deflater, Effort};

/// Decides by the request whether a client may compress.
type Accept = Arc<dyn Fn(&UpgradeRequest) -> bool + Send + Sync>;

/// How a hub compresses messages (RFC 7692), for
/// [`Builder::compression`](crate::Builder::compression).
///
/// The page [`compression`](crate::docs::compression) tells when compression pays, and how it works.
///
/// # Examples
/// ```
/// use roomcast::header::USER_AGENT;
/// use roomcast::{BuildError, Compression, Hub};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BuildError> {
/// let compression = Compression::shared().min_recipients(50).accept_if(|request| {
///     let agent = request.headers().get(USER_AGENT);
///     !agent.is_some_and(|agent| agent.as_bytes().starts_with(b"OldClient/"))
/// });
/// let hub = Hub::<String>::builder().compression(compression).build()?;
/// # assert_eq!(hub.count(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "settings do nothing until they are given to a builder"]
pub struct Compression {
    pub(super) shares_windows: bool,
    pub(super) is_thorough: bool,
    pub(super) window_bits: u8,
    pub(super) message_bytes_min: usize,
    pub(super) recipients_min: usize,
    pub(super) memory_max: usize,
    pub(super) is_direct: bool,
    pub(super) accept: Option<Accept>,
}

impl Compression {
    /// The messages of a room share a window: a message may refer to the messages before it, and
    /// all clients in step get the same compressed bytes. The messages to everyone share another.
    ///
    /// Messages to several rooms at once stay plain, except for clients that keep no window.
    pub fn shared() -> Self {
        Self {
            shares_windows: true,
            is_thorough: false,
            window_bits: WINDOW_BITS_MAX,
            message_bytes_min: 32,
            recipients_min: 16,
            memory_max: 32 * 1024 * 1024,
            is_direct: false,
            accept: None,
        }
    }

    /// Each message is compressed alone, once for all its recipients in a shard. Saves little for
    /// messages below about 500 bytes.
    pub fn once() -> Self {
        Self { shares_windows: false, ..Self::shared() }
    }

    /// Whether the compressor takes more time for fewer bytes. Default: no; it then takes about
    /// 0.7 µs for a message of 128 bytes, and 6 µs for 1 KiB, in a window that goes on. If it is thorough, it takes 15 to 60 %
    /// more time, and messages have 3 to 5 % fewer bytes (up to 16 % fewer with
    /// [`once`](Self::once)).
    pub fn thorough(mut self, is_thorough: bool) -> Self {
        self.is_thorough = is_thorough;
        self
    }

    /// The base-2 logarithm of the window, in bytes. Default: 15 (32 KiB); 9 to 15. A smaller
    /// window saves less. A compressor takes 152 KB with 15 bits, 86 KB with 13 and 14, and 37 KB
    /// with fewer.
    pub fn window_bits(mut self, bits: u8) -> Self {
        self.window_bits = bits;
        self
    }

    /// Messages with a smaller payload, in bytes, stay plain. Default: 32.
    pub fn min_message_bytes(mut self, bytes: usize) -> Self {
        self.message_bytes_min = bytes;
        self
    }

    /// Messages to fewer clients that can inflate stay plain. Default: 16. Each shard counts its own
    /// clients: with two shards, a room of 40 has about 20 in each.
    pub fn min_recipients(mut self, clients: usize) -> Self {
        self.recipients_min = clients;
        self
    }

    /// The memory of all compressors of the hub, in bytes. Default: 32 MiB; at least 1. Each shard
    /// gets an equal share: with 8 shards, 32 MiB are enough for 25 busy rooms in each shard. A room
    /// that needs a compressor gets that of a room that has become silent. If there is none, the
    /// messages of the room stay plain.
    ///
    /// Each shard has one compressor for a room, and those for messages that are compressed alone,
    /// in any case.
    pub fn max_memory(mut self, bytes: usize) -> Self {
        self.memory_max = bytes;
        self
    }

    /// Whether messages to a single connection are compressed, each alone. Default: no. With
    /// [`shared`](Self::shared), a compressed message to its connection alone puts a client out of
    /// step with its room.
    ///
    /// Turn it on only if no such message contains a secret together with text that others choose.
    pub fn direct(mut self, is_compressed: bool) -> Self {
        self.is_direct = is_compressed;
        self
    }

    /// Decides by the request whether messages to and from a client may be compressed. Default:
    /// yes. If the closure panics, the handshake is refused with 500.
    pub fn accept_if(
        mut self,
        accept: impl Fn(&UpgradeRequest) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.accept = Some(Arc::new(accept));
        self
    }
}

/// For the builder.
impl Compression {
    pub(super) fn check(&self) -> Result<(), BuildError> {
        in_range("Compression::window_bits", self.window_bits.into(), 9..=15, "9 to 15")?;
        in_range("Compression::max_memory", self.memory_max, 1..=usize::MAX, "1 and more")
    }

    /// The settings of each of `shards` shards.
    pub(super) fn for_shard(
        &self,
        shards: usize,
        counters: Arc<HubCounters>,
    ) -> engine::ShardCompression {
        let Self { is_thorough, message_bytes_min, .. } = *self;
        let effort = if is_thorough { Effort::THOROUGH } else { Effort::FAST };
        let compressor_bytes = Deflater::memory(self.window_bits);
        engine::ShardCompression {
            shares_windows: self.shares_windows,
            window_bits: self.window_bits,
            recipients_min: self.recipients_min,
            compressors_max: self.memory_max / compressor_bytes / shards,
            compresses_direct: self.is_direct,
            new_compressor: Arc::new(move |window_bits| {
                let deflater = Deflater::new(effort, window_bits, message_bytes_min);
                Box::new(Timed { deflater, calls: 0, counters: counters.clone() })
            }),
        }
    }
}

/// A compressor that measures one call in [`Timed::CALLS`].
struct Timed {
    deflater: Deflater,
    calls: u32,
    counters: Arc<HubCounters>,
}

impl Timed {
    /// A call costs about 1 µs, and to read the clock twice may cost 0.1 µs.
    const CALLS: u32 = 16;
}

impl Compressor for Timed {
    fn reset(&mut self) {
        self.deflater.reset();
    }

    fn compress(&mut self, frames: &[u8], coded: &mut Vec<u8>) -> bool {
        self.calls = (self.calls + 1) % Self::CALLS;
        if self.calls != 0 {
            return self.deflater.compress(frames, coded);
        }
        let start = Instant::now();
        let is_any_compressed = self.deflater.compress(frames, coded);
        let estimate = start.elapsed() * Self::CALLS;
        self.counters.compressing_ns.add(estimate.as_nanos() as u64);
        is_any_compressed
    }
}

impl fmt::Debug for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compression")
            .field("shares_windows", &self.shares_windows)
            .field("is_thorough", &self.is_thorough)
            .field("window_bits", &self.window_bits)
            .field("message_bytes_min", &self.message_bytes_min)
            .field("recipients_min", &self.recipients_min)
            .field("memory_max", &self.memory_max)
            .field("is_direct", &self.is_direct)
            .finish_non_exhaustive()
    }
}
