//! The window of a client's inflater, as far as the shard knows it.

use crate::engine::compression::ClientInflater;

/// What the inflater of a client holds: one word, because every connection has one.
///
/// The *position* is the number of the last burst of a stream that the client has got, or
/// [`UNKNOWN`](Self::UNKNOWN). Bursts are numbered over all rooms of the shard. So the position
/// tells both which room's window the client has, and whether the client has all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine::shard) struct ClientWindow(u64);

impl ClientWindow {
    /// The client is in step with no room: it is new, its last compressed message was compressed
    /// alone, or its last compressed burst was cut.
    pub(super) const UNKNOWN: u64 = 0;

    /// The word of a client without an inflater.
    const NO_INFLATER: u64 = 0;

    const POSITION_BITS: u32 = 56;

    pub(in crate::engine::shard) fn new(inflater: Option<ClientInflater>) -> Self {
        let inflater = inflater.map_or(Self::NO_INFLATER, |inflater| inflater.to_byte().into());
        Self(inflater << Self::POSITION_BITS)
    }

    /// Whether the client can inflate.
    #[inline]
    pub(in crate::engine::shard) fn can_inflate(self) -> bool {
        self.0 != Self::NO_INFLATER
    }

    /// Whether the client's window continues a room's.
    pub(in crate::engine::shard) fn is_known(self) -> bool {
        self.position() != Self::UNKNOWN
    }

    pub(super) fn inflater(self) -> Option<ClientInflater> {
        ClientInflater::from_byte((self.0 >> Self::POSITION_BITS) as u8)
    }

    /// The number of the last compressed burst of which the client has got all.
    pub(super) fn position(self) -> u64 {
        self.0 & ((1 << Self::POSITION_BITS) - 1)
    }

    /// Notes that the client is in step with no room.
    pub(in crate::engine::shard) fn lose(&mut self) {
        self.move_to(Self::UNKNOWN);
    }

    /// Notes what the client's window has now.
    pub(in crate::engine::shard) fn move_to(&mut self, position: u64) {
        debug_assert!(position >> Self::POSITION_BITS == 0);
        self.0 = self.0 >> Self::POSITION_BITS << Self::POSITION_BITS | position;
    }
}
