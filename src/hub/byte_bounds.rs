//! How many bytes may wait by default, by the memory that the process may use.

use crate::process::Memory;

const MIB: u64 = 1024 * 1024;

/// With less memory than this, the kernel's buffers of 135 clients that do not read (3.8 MiB each) would
/// take all of it: sockets get [`SMALL_SOCKET_SEND_BUFFER`].
const SMALL_MEMORY: u64 = 512 * MIB;

/// Holds what a client 50 ms away takes at 10 Mbit/s.
const SMALL_SOCKET_SEND_BUFFER: usize = 64 * 1024;

/// A part of the memory, within bounds.
#[derive(Clone, Copy)]
struct Part {
    /// One of so many parts.
    of: u64,
    min: u64,
    max: u64,
}

/// Queues, inboxes and the outage queue have 7/16 of the memory together. The rest is for the process itself
/// (4 to 16 MiB), its connections, the kernel's buffers, which a control group is charged for as well, and
/// the space that an allocator cannot use.
const QUEUED: Part = Part { of: 4, min: 4 * MIB, max: 1024 * MIB };
/// Of all shards together.
const INBOXES: Part = Part { of: 8, min: MIB / 4, max: u64::MAX };
/// Of one: half of the least holds two messages of the default `max_message_bytes`.
const INBOX: Part = Part { of: 1, min: MIB / 4, max: 64 * MIB };
const OUTAGE: Part = Part { of: 16, min: MIB, max: 64 * MIB };

impl Part {
    fn take(self, bytes: u64) -> u64 {
        (bytes / self.of).clamp(self.min, self.max)
    }
}

/// How many bytes may wait where, set or by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteBounds {
    pub(super) queued: usize,
    /// Of each shard.
    pub(super) inbox: usize,
    pub(super) outage: usize,
    pub(super) socket_send_buffer: Option<usize>,
}

impl ByteBounds {
    /// The defaults with this memory; where it is not known, as if there were plenty.
    pub(super) fn of(memory: Option<Memory>, shards: usize) -> Self {
        let bytes = memory.map_or(u64::MAX, |memory| memory.bytes);
        let of_shard = INBOXES.take(bytes) / shards as u64;
        let is_small = bytes < SMALL_MEMORY;
        Self {
            queued: QUEUED.take(bytes) as usize,
            inbox: INBOX.take(of_shard) as usize,
            outage: OUTAGE.take(bytes) as usize,
            socket_send_buffer: is_small.then_some(SMALL_SOCKET_SEND_BUFFER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::MemorySource;

    fn with(mib: u64, shards: usize) -> [usize; 3] {
        let memory = Memory { bytes: mib * MIB, source: MemorySource::Cgroup };
        let ByteBounds { queued, inbox, outage, .. } = ByteBounds::of(Some(memory), shards);
        [queued, inbox, outage].map(|bytes| bytes / 1024)
    }

    #[test]
    fn defaults_are_parts_of_the_memory_between_their_bounds() {
        assert_eq!(with(24 * 1024, 2), [1024 * 1024, 64 * 1024, 64 * 1024], "KiB");
        assert_eq!(with(512, 2), [128 * 1024, 32 * 1024, 32 * 1024]);
        assert_eq!(with(64, 2), [16 * 1024, 4 * 1024, 4 * 1024]);
        assert_eq!(with(64, 64), [16 * 1024, 256, 4 * 1024]);
        assert_eq!(with(1, 1), [4 * 1024, 256, 1024]);
    }

    #[test]
    fn memory_that_is_not_known_changes_nothing() {
        let unknown = ByteBounds::of(None, 2);
        let memory = Memory { bytes: 24 << 30, source: MemorySource::Machine };
        assert_eq!(unknown, ByteBounds::of(Some(memory), 2));
        assert_eq!(unknown.socket_send_buffer, None);
    }

    #[test]
    fn sockets_of_small_machines_have_buffers_of_a_size() {
        let buffer = |mib| {
            let memory = Memory { bytes: mib * MIB, source: MemorySource::Cgroup };
            ByteBounds::of(Some(memory), 1).socket_send_buffer
        };
        assert_eq!([64, 511, 512].map(buffer), [Some(64 * 1024), Some(64 * 1024), None]);
    }
}
