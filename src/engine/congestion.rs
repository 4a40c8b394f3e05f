//! A hint whether any inbox of a hub is congested: the number of inbox bounds that are more than
//! half used.
//!
//! Readers check it before each message of a client. Otherwise they would read two numbers of each
//! inbox, and publishers write these all the time.
//!
//! # Invariants
//!
//! 1. The numbers of an inbox (messages, bytes) change by atomic additions, so each number crosses
//!    its half upwards and downwards in turn. The thread that moves it up adds one here, and the
//!    thread that moves it down subtracts one. When no thread is between the two steps, this is the
//!    count of numbers above their half.
//! 2. The count may lag while a thread is not scheduled between the two steps, and may then be
//!    negative. So it is a hint: at zero or below, nothing counts as congested; above, it is worth
//!    looking at the inboxes.
//! 3. Nobody gives back the space in an inbox that closes, so its part of the count may stay.

use crossbeam_utils::CachePadded;

use super::sync::{AtomicUsize, Ordering};

/// A hint whether any of several inboxes is congested.
#[derive(Debug)]
pub struct Congestion {
    /// Inboxes write it when they cross the half of a bound, readers read it. It publishes nothing:
    /// whoever waits is woken by the notification that follows, which orders the two.
    past_half: CachePadded<AtomicUsize>,
}

impl Congestion {
    /// The hint for inboxes that are all empty.
    pub fn new() -> Self {
        Self { past_half: CachePadded::new(AtomicUsize::new(0)) }
    }

    /// Whether an inbox may be congested.
    pub fn is_likely(&self) -> bool {
        self.past_half.load(Ordering::Relaxed) as isize > 0
    }

    /// Counts one more bound above its half.
    #[cold]
    pub(super) fn rise(&self) {
        self.past_half.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one bound fewer above its half.
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
