//! Bounds that the shards of a hub share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number with a bound, shared by several. It orders nothing.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    max: usize,
    sharers: usize,
}

impl Budget {
    /// A budget of which nothing is used.
    pub fn new(max: usize, sharers: usize) -> Self {
        Self { used: AtomicUsize::new(0), max, sharers }
    }

    /// What each can use without anybody going past the bound for it. Where the bound is passed, somebody
    /// uses more than this.
    pub fn fair_share(&self) -> usize {
        self.max / self.sharers
    }

    /// The bound.
    pub fn max(&self) -> usize {
        self.max
    }

    /// What is used.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// By how much the bound is passed.
    pub fn excess(&self) -> usize {
        self.used().saturating_sub(self.max)
    }

    /// Uses `amount`, unless that would pass the bound.
    pub fn try_take(&self, amount: usize) -> bool {
        let take = |used: usize| used.checked_add(amount).filter(|used| *used <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Uses `amount`, past the bound if need be.
    pub fn take(&self, amount: usize) {
        self.used.fetch_add(amount, Ordering::Relaxed);
    }

    /// Gives back what was used.
    pub fn give_back(&self, amount: usize) {
        self.used.fetch_sub(amount, Ordering::Relaxed);
    }
}

/// The budgets of a hub; each shard has a clone. By default, no bounds.
#[derive(Debug, Clone)]
pub struct Budgets {
    /// Rooms; one counts once per shard that has members of it.
    pub rooms: Arc<Budget>,
    /// Bytes of data in send queues. What several clients share counts for each.
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
