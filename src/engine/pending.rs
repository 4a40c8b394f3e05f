//! The bytes that are on their way to one address: a room, everyone, or one connection.
//!
//! A call that waits, waits for its own address only. So the queue of each address stays short, and
//! a flood to one address delays no other.
//!
//! # Invariants
//!
//! 1. A [`Delivery`](super::Delivery) adds its bytes when it is made and removes them when it is
//!    dropped, wherever that happens. Its frames stay the same, and so does its count: a delivery
//!    to a room keeps that audience.

use super::sync::{AtomicUsize, Ordering};

/// The bytes that may be on their way to the members of a room, or to everyone, in one shard,
/// before a patient publisher waits. By default a turn takes 512 KiB of one room, and while that is
/// written more gathers for the next turns.
///
/// Measured with a flood of a room of 200. With 2 or 4 MiB, the flood costs as much processor time
/// as without this bound, and delays an echo in another room by 0.5 to 1.5 ms in the median. With 1
/// MiB, the flood costs about a tenth more. With 8 MiB, the delay is 8 to 100 ms.
pub const PENDING_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The bytes on their way to one address. Publishers add, the shard subtracts; the number orders
/// nothing.
#[derive(Debug, Default)]
pub struct Pending(AtomicUsize);

impl Pending {
    /// Whether a patient publisher must wait.
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
