//! What is on its way to a room, to everyone or to one connection.
//!
//! A call that waits waits for its own address. So the queue of each address is short, and a flood of
//! one delays nobody else.

use super::sync::{AtomicUsize, Ordering};

/// The bytes that may be on their way to the members of a room, or to everyone, in one shard before
/// a patient publisher waits. A turn takes 512 KiB of one room, and is written while more gathers for
/// the next ones. With 2 or 4 MiB, a flood of a room of 200 costs as much processor time as one without
/// this bound, and delays an echo in another room by 0.5 to 1.5 ms in the median; with 1 MiB it costs
/// about a tenth more, and with 8 MiB the delay is 8 to 100 ms.
pub const PENDING_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bytes on their way. Publishers add, the shard takes off; the count orders nothing.
#[derive(Debug, Default)]
pub struct Pending(AtomicUsize);

impl Pending {
    /// Whether a patient publisher is to wait.
    pub(super) fn is_high(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= PENDING_BYTES_MAX
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}
