//! The default bounds of queues, in bytes, computed from the memory that the process may use.

use crate::process::Memory;

const MIB: u64 = 1024 * 1024;

/// Below this memory, sockets get [`SMALL_SOCKET_SEND_BUFFER`]: the kernel's buffers of 135 clients
/// that do not read (3.8 MiB each) would take all of it.
const SMALL_MEMORY: u64 = 512 * MIB;

/// In bytes: the data in flight to a client 50 ms away at 10 Mbit/s.
const SMALL_SOCKET_SEND_BUFFER: usize = 64 * 1024;

/// A fraction of the memory, between two bounds.
#[derive(Clone, Copy)]
struct Part {
    /// The denominator of the fraction.
    of: u64,
    min: u64,
    max: u64,
}

/// The send queues of all clients. Send queues, inboxes and the outbox together get 7/16 of the
/// memory. The rest is for the process itself (4 to 16 MiB), its connections, the kernel's buffers,
/// for which a control group is charged as well, and the overhead of the allocator.
const QUEUED: Part = Part { of: 4, min: 4 * MIB, max: 1024 * MIB };
/// The inboxes of all shards together.
const INBOXES: Part = Part { of: 8, min: MIB / 4, max: u64::MAX };
/// The inbox of one shard. Half of the minimum holds two messages of the default
/// `max_message_bytes`.
const INBOX: Part = Part { of: 1, min: MIB / 4, max: 64 * MIB };
/// The outbox of the backplane.
const OUTBOX: Part = Part { of: 16, min: MIB, max: 64 * MIB };

impl Part {
    fn take(self, bytes: u64) -> u64 {
        (bytes / self.of).clamp(self.min, self.max)
    }
}

/// The bounds in bytes that a hub uses: settings, or else defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteBounds {
    pub(super) queued: usize,
    /// For each shard.
    pub(super) inbox: usize,
    pub(super) outbox: usize,
    pub(super) socket_send_buffer: Option<usize>,
}

impl ByteBounds {
    /// The defaults for this memory. Unknown memory counts as unlimited.
    pub(super) fn of(memory: Option<Memory>, shards: usize) -> Self {
        let bytes = memory.map_or(u64::MAX, |memory| memory.bytes);
        let of_shard = INBOXES.take(bytes) / shards as u64;
        let is_small = bytes < SMALL_MEMORY;
        Self {
            queued: QUEUED.take(bytes) as usize,
            inbox: INBOX.take(of_shard) as usize,
            outbox: OUTBOX.take(bytes) as usize,
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
        let ByteBounds { queued, inbox, outbox, .. } = ByteBounds::of(Some(memory), shards);
        [queued, inbox, outbox].map(|bytes| bytes / 1024)
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
    fn unknown_memory_gives_the_largest_defaults() {
        let unknown = ByteBounds::of(None, 2);
        let memory = Memory { bytes: 24 << 30, source: MemorySource::Machine };
        assert_eq!(unknown, ByteBounds::of(Some(memory), 2));
        assert_eq!(unknown.socket_send_buffer, None);
    }

    #[test]
    fn sockets_of_small_machines_have_a_fixed_buffer() {
        let buffer = |mib| {
            let memory = Memory { bytes: mib * MIB, source: MemorySource::Cgroup };
            ByteBounds::of(Some(memory), 1).socket_send_buffer
        };
        assert_eq!([64, 511, 512].map(buffer), [Some(64 * 1024), Some(64 * 1024), None]);
    }
}
