//! How many bounds of inboxes are half taken, in one number for all inboxes of a hub.
//!
//! Readers ask before each message of a client. They would otherwise read two numbers of each inbox, which
//! publishers write all the time.
//!
//! # Invariants
//! 1. Each number of an inbox (messages, bytes) moves by atomic additions, so its ways past the half and back
//!    take turns. Whoever moves it past the half adds one here, and whoever moves it back takes one off. At
//!    rest this is the count of numbers that are past their half.
//! 2. It may lag behind for as long as the thread that moved the number is not scheduled, and be less than
//!    zero meanwhile. So it is a hint: zero or less says that nothing is congested, and more that it is worth
//!    while to look at the inboxes.
//! 3. Nobody gives back what an inbox holds that closes. So its share may stay.

use crossbeam_utils::CachePadded;

use super::sync::{AtomicUsize, Ordering};

/// A hint whether any of several inboxes is congested.
#[derive(Debug)]
pub struct Congestion {
    /// Inboxes write it when they cross the half of a bound, readers read it. It publishes nothing: whoever
    /// waits is woken by the ring that follows, which orders the two.
    past_half: CachePadded<AtomicUsize>,
}

impl Congestion {
    /// For inboxes that are empty.
    pub fn new() -> Self {
        Self { past_half: CachePadded::new(AtomicUsize::new(0)) }
    }

    /// Whether an inbox may be congested.
    pub fn is_likely(&self) -> bool {
        self.past_half.load(Ordering::Relaxed) as isize > 0
    }

    /// One bound more is past its half.
    #[cold]
    pub(super) fn rise(&self) {
        self.past_half.fetch_add(1, Ordering::Relaxed);
    }

    /// One bound fewer is past its half.
    #[cold]
    pub(super) fn fall(&self) {
        self.past_half.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Congestion {
    fn default() -> Self {
        Self::new()
    }
}
