//! The ends of shards: who waits for them, and what is told of those that nobody has asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::events;
use crate::runtime::bell::Bell;
use crate::runtime::notify::Notify;

/// What the tasks of all shards share with those who wait for their end.
#[derive(Default)]
pub(super) struct AliveShards {
    /// Shards that are not gone. Each takes itself off before it rings.
    count: AtomicUsize,
    shard_gone: Notify,
    /// Set when the hub goes.
    are_ends_expected: AtomicBool,
    /// Whether it was told that the runtime has ended.
    is_runtime_end_logged: AtomicBool,
}

impl AliveShards {
    pub(super) fn of(shards: usize) -> Self {
        Self { count: AtomicUsize::new(shards), ..Self::default() }
    }

    /// Whether no shard is left. Every publish asks, and unlike the inboxes this is in memory that hardly
    /// anybody writes.
    pub(super) fn are_all_gone(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Rung at each end.
    pub(super) fn shard_gone(&self) -> &Notify {
        &self.shard_gone
    }

    /// The hub goes: all ends that follow are in order.
    pub(super) fn expect_ends(&self) {
        self.are_ends_expected.store(true, Ordering::Relaxed);
    }
}

/// Tells of the end of a shard that nobody has asked for.
pub(super) struct AliveGuard {
    pub(super) index: usize,
    pub(super) space: Arc<Bell>,
    pub(super) shards: Arc<AliveShards>,
    /// Set when the shard was told to end.
    pub(super) is_end_expected: bool,
}

impl Drop for AliveGuard {
    fn drop(&mut self) {
        self.shards.count.fetch_sub(1, Ordering::Release);
        // Who waits for room, and who waits for the hub.
        self.space.ring();
        self.shards.shard_gone.notify_waiters();
        if self.is_end_expected || self.shards.are_ends_expected.load(Ordering::Relaxed) {
            return;
        }
        if thread::panicking() {
            events::shard_gone(self.index, "it panicked");
        } else if !self.shards.is_runtime_end_logged.swap(true, Ordering::Relaxed) {
            // They all go with it.
            events::shard_gone(self.index, "its runtime has ended");
        }
    }
}
