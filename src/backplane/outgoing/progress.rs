//! How far the messages of this node have come: a flush waits until they have left.
//!
//! A message is *settled* once it is acknowledged or dropped. Three counts of messages and a flag
//! tell whether the first `n` messages are settled, at the cost of one atomic addition for each
//! message.
//!
//! # Invariants
//!
//! 1. A publisher counts a message in `queued` before it appends the message to the outbox.
//!    Messages leave the outbox in the order in which they entered it. So when a
//!    publisher reads `queued` = n after its push, its message and all messages before it are among
//!    the first n.
//! 2. Every message that leaves the outbox is counted in `taken` at once. The publishing task takes
//!    messages to publish them; all other threads take messages to drop them.
//! 3. The publishing task sets `is_carrying` before it takes a message, and clears it only when
//!    every message that it has taken is settled. So if `taken` ≥ n is read first, and
//!    `is_carrying` is read as false afterwards, the first n messages are settled.
//! 4. `settled` only gets values that `taken` had while no message was on its way. So the first
//!    `settled` messages are settled, also while later messages are on their way.
//! 5. Every step that can complete a wait is followed by a ring of `moved`: the end of a batch and
//!    a drop.
//!
//! Models check that a wait ends in time, and not too early (`tests/models/loom/progress.rs`).

use crossbeam_utils::CachePadded;

use crate::engine::sync::{AtomicBool, AtomicU64, Ordering};
use crate::runtime::bell::Bell;

/// Counts the messages that were queued, and those of them that are settled.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Messages that were ever queued. Publishers add (invariant 1).
    queued: CachePadded<AtomicU64>,
    /// Messages that were ever taken out of the outbox. Every thread that takes a message adds
    /// (invariant 2).
    taken: AtomicU64,
    /// Whether messages may be on their way. The publishing task writes (invariant 3).
    is_carrying: AtomicBool,
    /// The number of messages, counted from the first, that are settled for certain. The publishing
    /// task writes (invariant 4).
    settled: AtomicU64,
    /// Rung whenever something is settled (invariant 5).
    moved: Bell,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            queued: CachePadded::new(AtomicU64::new(0)),
            taken: AtomicU64::new(0),
            is_carrying: AtomicBool::new(false),
            settled: AtomicU64::new(0),
            moved: Bell::default(),
        }
    }
}

impl Progress {
    /// Notes that a message is about to be queued (invariant 1).
    pub(crate) fn queue(&self) {
        // Relaxed: the queue itself orders this for the publishers behind this one.
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the oldest message was taken out (invariant 2).
    pub(crate) fn take(&self) {
        // Pairs with the load in `is_settled`: a thread that sees this count sees the `carry`
        // before it.
        self.taken.fetch_add(1, Ordering::Release);
    }

    /// Notes that the messages that are taken from now on are on their way (invariant 3). For the
    /// publishing task alone.
    pub(crate) fn carry(&self) {
        // Relaxed: `take` publishes it.
        self.is_carrying.store(true, Ordering::Relaxed);
    }

    /// Notes that no message is on its way (invariants 3 and 4). For the publishing task alone.
    pub(crate) fn settle(&self) {
        // Messages that other threads have taken are dropped. Both stores pair with the loads in
        // `is_settled`.
        self.settled.store(self.taken.load(Ordering::Relaxed), Ordering::Release);
        self.is_carrying.store(false, Ordering::Release);
        self.notify();
    }

    /// Lets the waiting calls look again (invariant 5).
    pub(crate) fn notify(&self) {
        self.moved.ring();
    }

    /// Waits until every message that is queued at the time of this call is settled.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub(crate) fn all_settled(&self) -> impl Future<Output = ()> {
        let goal = self.queued.load(Ordering::Relaxed);
        self.moved.until(move || self.is_settled(goal))
    }

    /// Whether the first `goal` messages are settled: by invariant 4, or else by invariant 3.
    /// `taken` is read before `is_carrying`, because invariant 3 speaks of a later moment.
    fn is_settled(&self, goal: u64) -> bool {
        self.settled.load(Ordering::Acquire) >= goal
            || self.taken.load(Ordering::Acquire) >= goal
                && !self.is_carrying.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Wake, Waker};

    use futures_util::FutureExt;

    use super::*;

    #[derive(Default)]
    struct CountWakes(AtomicUsize);

    impl Wake for CountWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn is_all_settled(progress: &Progress) -> bool {
        progress.all_settled().now_or_never().is_some()
    }

    #[test]
    fn nothing_is_settled_before_it_is_out_and_not_on_its_way() {
        let progress = Progress::default();
        assert!(is_all_settled(&progress), "nothing was queued");
        progress.queue();
        assert!(!is_all_settled(&progress), "it waits");
        progress.carry();
        progress.take();
        assert!(!is_all_settled(&progress), "it is on its way");
        progress.settle();
        assert!(is_all_settled(&progress));
        progress.carry();
        assert!(is_all_settled(&progress), "settled messages stay settled");
    }

    #[test]
    fn messages_taken_by_other_threads_are_dropped() {
        let progress = Progress::default();
        progress.queue();
        progress.take();
        assert!(is_all_settled(&progress));
    }

    #[test]
    fn waiting_call_is_woken_only_when_something_is_settled() {
        let progress = Progress::default();
        let wakes = Arc::new(CountWakes::default());
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        progress.queue();
        let mut waiting = pin!(progress.all_settled());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        progress.carry();
        progress.take();
        progress.queue();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        progress.settle();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert!(waiting.as_mut().poll(&mut cx).is_ready(), "later messages do not matter");
    }

    #[test]
    fn call_that_was_given_up_is_not_counted() {
        let progress = Progress::default();
        progress.queue();
        assert!(!is_all_settled(&progress));
        assert_eq!(progress.moved.waiting(), 0);
    }
}
