//! What is on its way to a room, to everyone or to one connection.
//!
//! A call that waits waits for its own address. So the queue of each address is short, and a flood of
//! one delays nobody else.

use super::sync::{AtomicUsize, Ordering};

/// The bytes that may be on their way to the members of a room, or to everyone, in one shard before
/// a patient publisher waits. What a turn takes of one room, 512 KiB, is written while as much gathers
/// for the next one. A flood of one room by 1, 4 and 16 tasks costs 1.09, 1.05 and 1.03 times the
/// processor time of one without this bound; with a quarter of it, 1.3 to 1.4 times.
pub const PENDING_BYTES_MAX: usize = 1024 * 1024;

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
