//! Waiting until inboxes are no longer congested, at no cost for the shards while nobody waits.
//!
//! # Orderings
//!
//! A waiter counts itself and then looks at the inboxes; whoever has made room looks for waiters
//! afterwards. A `SeqCst` fence between the two steps on each side makes sure that one sees the
//! other. A ring that follows the count finds a future that was made before it, and wakes it.

use tokio::sync::Notify;

use crate::engine::sync::{AtomicUsize, Ordering, fence};
use crate::shield::shielded;

#[derive(Debug, Default)]
pub(super) struct Relief {
    waiters: AtomicUsize,
    bell: Notify,
}

impl Relief {
    /// Wakes all who wait. To be called after room was made.
    pub(super) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.waiters.load(Ordering::Relaxed) > 0 {
            self.bell.notify_waiters();
        }
    }

    /// Waits until the inboxes are not congested.
    pub(super) async fn wait_while(&self, is_congested: impl Fn() -> bool) {
        while is_congested() {
            // Boxed, for it is rare, and its size would count in every future that may wait.
            let rung = Box::pin(shielded(self.bell.notified()));
            let _waiter = Waiter::count(&self.waiters);
            fence(Ordering::SeqCst);
            if is_congested() {
                rung.await;
            }
        }
    }
}

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
