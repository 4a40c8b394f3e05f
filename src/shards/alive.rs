//! The number of shards that are alive, the notification when a shard is gone, and the event for an
//! end that was not requested.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::events;
use crate::runtime::bell::Bell;
use crate::runtime::notify::Notify;

/// The shards that are alive. The tasks of the shards share it with the code that waits for their
/// end.
#[derive(Default)]
pub(super) struct AliveShards {
    /// The number of shards that are alive. A shard is counted out before it notifies.
    count: AtomicUsize,
    shard_gone: Notify,
    /// Whether the hub has been dropped, so that the shards end.
    are_ends_expected: AtomicBool,
    /// Whether the event was logged that the runtime has ended.
    is_runtime_end_logged: AtomicBool,
}

impl AliveShards {
    /// Counts `shards` shards as alive.
    pub(super) fn of(shards: usize) -> Self {
        Self { count: AtomicUsize::new(shards), ..Self::default() }
    }

    /// Whether no shard is alive. Every publish asks. Unlike the inboxes, this memory is hardly
    /// ever written.
    pub(super) fn are_all_gone(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Notified each time that a shard is gone.
    pub(super) fn shard_gone(&self) -> &Notify {
        &self.shard_gone
    }

    /// Waits until no shard is alive.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future changes nothing.
    pub(super) async fn all_gone(&self) {
        loop {
            let mut gone = pin!(self.shard_gone.notified());
            gone.as_mut().enable();
            if self.are_all_gone() {
                return;
            }
            gone.await;
        }
    }

    /// Notes that the hub is dropped: the ends of shards that follow are not errors.
    pub(super) fn expect_ends(&self) {
        self.are_ends_expected.store(true, Ordering::Relaxed);
    }
}

/// Marks a shard as alive until it is dropped. Dropping logs an event if the end was not requested.
pub(super) struct AliveGuard {
    pub(super) index: usize,
    pub(super) space: Arc<Bell>,
    pub(super) shards: Arc<AliveShards>,
    /// Whether the shard was asked to end.
    pub(super) is_end_expected: bool,
}

impl Drop for AliveGuard {
    fn drop(&mut self) {
        self.shards.count.fetch_sub(1, Ordering::Release);
        // Wakes the waiters for space, and the waiters for the end of the hub.
        self.space.ring();
        self.shards.shard_gone.notify_waiters();
        if self.is_end_expected || self.shards.are_ends_expected.load(Ordering::Relaxed) {
            return;
        }
        if thread::panicking() {
            events::shard_gone(self.index, "it panicked");
        } else if !self.shards.is_runtime_end_logged.swap(true, Ordering::Relaxed) {
            // All shards end with the runtime: one event is enough.
            events::shard_gone(self.index, "its runtime has ended");
        }
    }
}
