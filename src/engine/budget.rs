//! Bounds that the shards of a hub share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A bounded number that several shards share. It orders nothing.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    max: usize,
    sharers: usize,
}

impl Budget {
    /// A budget of which nothing is used. `sharers` is the number of shards that use it.
    pub fn new(max: usize, sharers: usize) -> Self {
        Self { used: AtomicUsize::new(0), max, sharers }
    }

    /// `max / sharers`. If the total exceeds `max`, some sharer exceeds its share.
    pub fn fair_share(&self) -> usize {
        self.max / self.sharers
    }

    /// The bound.
    pub fn max(&self) -> usize {
        self.max
    }

    /// The used amount.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The amount by which the used amount exceeds the bound.
    pub fn excess(&self) -> usize {
        self.used().saturating_sub(self.max)
    }

    /// Uses `amount`; `false` if that would exceed the bound.
    pub fn try_take(&self, amount: usize) -> bool {
        let take = |used: usize| used.checked_add(amount).filter(|used| *used <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Uses `amount`, even beyond the bound.
    pub fn take(&self, amount: usize) {
        self.used.fetch_add(amount, Ordering::Relaxed);
    }

    /// Gives a used amount back.
    pub fn give_back(&self, amount: usize) {
        self.used.fetch_sub(amount, Ordering::Relaxed);
    }
}

/// The budgets of a hub; each shard has a clone. Without bounds by default.
#[derive(Debug, Clone)]
pub struct Budgets {
    /// The number of rooms. A room counts once for each shard that has members of it.
    pub rooms: Arc<Budget>,
    /// The bytes of data in send queues. Bytes that several queues share count once for each queue.
    pub queued_bytes: Arc<Budget>,
}

impl Budgets {
    /// Budgets of which nothing is used.
    pub fn new(rooms: usize, queued_bytes: usize, shards: usize) -> Self {
        Self {
            rooms: Arc::new(Budget::new(rooms, shards)),
            queued_bytes: Arc::new(Budget::new(queued_bytes, shards)),
        }
    }
}

impl Default for Budgets {
    fn default() -> Self {
        Self::new(usize::MAX, usize::MAX, 1)
    }
}
