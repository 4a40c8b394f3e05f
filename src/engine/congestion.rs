//! A hint whether any inbox of a hub is congested: the number of inbox bounds that are more than
//! half used. Readers pause for it. Slow clients are another matter: see `shard/eviction.rs`.
//!
//! Readers check it before each message of a client. Otherwise they would read two numbers of each
//! inbox, and publishers write these all the time.
//!
//! # Invariants
//!
//! 1. An inbox has two values, its messages and its bytes. They change by atomic additions, so each
//!    value rises above half its bound, and falls below it, alternately. The thread that raises it
//!    adds one here, and the thread that lowers it subtracts one. When no thread is between the two
//!    steps, the count is the number of values above half their bound.
//! 2. The count may lag while a thread is not scheduled between the two steps, and may then be
//!    negative. So it is a hint: at zero or below, readers treat all inboxes as free. Above zero,
//!    they look at each inbox.
//! 3. Nobody gives back the space in an inbox that closes, so its part of the count may stay.

use crossbeam_utils::CachePadded;

use super::sync::{AtomicUsize, Ordering};

/// A hint whether any of several inboxes is congested.
#[derive(Debug)]
pub struct Congestion {
    /// Inboxes write it when they cross the half of a bound, readers read it. It publishes nothing:
    /// a later notification wakes a reader that waits, and orders the memory.
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
