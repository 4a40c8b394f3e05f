//! The ends of shards: who waits for them, and what is told of those that nobody has asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::events;
use super::relief::Relief;
use crate::runtime::notify::Notify;

/// What the tasks of all shards share with those who wait for their end.
#[derive(Default)]
pub(super) struct Ends {
    /// Shards that are not gone. Each takes itself off before it rings.
    left: AtomicUsize,
    bell: Notify,
    /// Set when the hub goes.
    are_expected: AtomicBool,
    /// Whether it was told that the runtime has ended.
    is_told: AtomicBool,
}

impl Ends {
    pub(super) fn of(shards: usize) -> Self {
        Self { left: AtomicUsize::new(shards), ..Self::default() }
    }

    /// Whether no shard is left. Every publish asks, and unlike the inboxes this is in memory that hardly
    /// anybody writes.
    pub(super) fn are_all(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// Rung at each end.
    pub(super) fn bell(&self) -> &Notify {
        &self.bell
    }

    /// The hub goes: all ends that follow are in order.
    pub(super) fn expect(&self) {
        self.are_expected.store(true, Ordering::Relaxed);
    }
}

/// Tells of the end of a shard that nobody has asked for.
pub(super) struct End {
    pub(super) index: usize,
    pub(super) relief: Arc<Relief>,
    pub(super) ends: Arc<Ends>,
    /// Set when the shard was told to end.
    pub(super) is_expected: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        self.ends.left.fetch_sub(1, Ordering::Release);
        // Who waits for room, and who waits for the hub.
        self.relief.ring();
        self.ends.bell.notify_waiters();
        if self.is_expected || self.ends.are_expected.load(Ordering::Relaxed) {
            return;
        }
        if thread::panicking() {
            events::shard_gone(self.index, "it panicked");
        } else if !self.ends.is_told.swap(true, Ordering::Relaxed) {
            // They all go with it.
            events::shard_gone(self.index, "its runtime has ended");
        }
    }
}
