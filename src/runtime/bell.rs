//! A bell: tasks wait until a condition holds; other threads change the condition, and then ring.
//! Also known as an event count.
//!
//! A ring costs a fence and a load while nobody waits.
//!
//! # Orderings
//!
//! A waiter counts itself, and then checks the condition. A ringer changes the condition, and then
//! looks for waiters. A `SeqCst` fence between the two steps on each side makes sure that at least
//! one of them sees the other. A ringer that sees the count wakes the waiter: the waiter makes its
//! `Notified` before it counts itself.

use super::notify::Notify;
use super::shield::shielded;
use crate::engine::sync::{AtomicUsize, Ordering, fence};

/// Wakes tasks that wait for a condition.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// The number of waiters. It publishes no other memory: the fences order it.
    waiters: AtomicUsize,
    rung: Notify,
}

impl Bell {
    /// Wakes all waiters, so that they check their conditions again. Call it after a change.
    pub(crate) fn ring(&self) {
        // Pairs with the fence in `until_some`.
        fence(Ordering::SeqCst);
        if self.waiters.load(Ordering::Relaxed) > 0 {
            self.rung.notify_waiters();
        }
    }

    /// Waits until `condition` holds. Checks it now, and after each ring.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future changes nothing.
    pub(crate) async fn until(&self, mut condition: impl FnMut() -> bool) {
        self.until_some(|| condition().then_some(())).await;
    }

    /// Calls `attempt` now, and after each ring, until it returns a result.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future changes nothing.
    pub(crate) async fn until_some<R>(&self, mut attempt: impl FnMut() -> Option<R>) -> R {
        loop {
            let rung = shielded(self.rung.notified());
            let _waiter = Waiter::count(&self.waiters);
            // Pairs with the fence in `ring`.
            fence(Ordering::SeqCst);
            if let Some(result) = attempt() {
                return result;
            }
            rung.await;
        }
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiters.load(Ordering::SeqCst)
    }
}

/// Counts a waiter until it is dropped.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn count(waiters: &'a AtomicUsize) -> Self {
        waiters.fetch_add(1, Ordering::Relaxed);
        Self(waiters)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
