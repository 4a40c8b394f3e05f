//! How far this node's messages have come, for whoever waits until they have left.
//!
//! Messages leave the outbox in the order in which they entered it, so two counts tell which are out
//! of it. Those are *settled*, acknowledged or dropped, unless the publishing task has some of them
//! on its way; each time that it has none, it notes how far everything is settled.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::runtime::bell::Bell;

/// What was queued, and what of it is settled.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Messages that were ever queued. Publishers add, each before its message can be taken.
    queued: CachePadded<AtomicU64>,
    /// Messages that were ever taken out. Whoever has taken one adds, the publishing task after
    /// `is_carrying` was set: the release makes that visible to who reads this count.
    taken: AtomicU64,
    /// Whether messages that were taken may be on their way. The publishing task writes.
    is_carrying: AtomicBool,
    /// So many that were queued first are settled. The publishing task writes.
    settled: AtomicU64,
    /// Rung whenever something is settled.
    moved: Bell,
}

impl Progress {
    /// Notes that a message is about to be queued.
    pub(crate) fn queue(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the oldest message was taken out.
    pub(crate) fn take(&self) {
        // Pairs with the load in `is_settled`.
        self.taken.fetch_add(1, Ordering::Release);
    }

    /// Notes that what is taken from now on is on its way. For the publishing task alone.
    pub(crate) fn carry(&self) {
        self.is_carrying.store(true, Ordering::Relaxed);
    }

    /// Notes that nothing is on its way. For the publishing task alone.
    pub(crate) fn settle(&self) {
        // Whatever others have taken, they have dropped. Both pair with the loads in `is_settled`.
        self.settled.store(self.taken.load(Ordering::Relaxed), Ordering::Release);
        self.is_carrying.store(false, Ordering::Release);
        self.tell();
    }

    /// Has those that wait look again.
    pub(crate) fn tell(&self) {
        self.moved.ring();
    }

    /// Waits until all that is queued at the time of this call is settled.
    ///
    /// # Cancel safety
    /// Nothing is changed by it.
    pub(crate) fn all_settled(&self) -> impl Future<Output = ()> {
        let goal = self.queued.load(Ordering::Relaxed);
        self.moved.until(move || self.is_settled(goal))
    }

    /// Whether the first `goal` messages are settled. That nothing is on its way is believed only of
    /// a moment after they were taken: what is then, is over with them.
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
        assert!(is_all_settled(&progress), "there is nothing");
        progress.queue();
        assert!(!is_all_settled(&progress), "it waits");
        progress.carry();
        progress.take();
        assert!(!is_all_settled(&progress), "it is on its way");
        progress.settle();
        assert!(is_all_settled(&progress));
        progress.carry();
        assert!(is_all_settled(&progress), "what was settled stays it");
    }

    #[test]
    fn what_others_have_taken_is_dropped() {
        let progress = Progress::default();
        progress.queue();
        progress.take();
        assert!(is_all_settled(&progress));
    }

    #[test]
    fn who_waits_is_woken_when_something_is_settled_and_at_no_other_time() {
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
        assert!(waiting.as_mut().poll(&mut cx).is_ready(), "what was queued later is no matter");
    }

    #[test]
    fn one_that_has_given_up_is_not_counted() {
        let progress = Progress::default();
        progress.queue();
        assert!(!is_all_settled(&progress));
        assert_eq!(progress.moved.waiting(), 0);
    }
}
