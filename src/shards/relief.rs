//! Waiting until the shards have made space, at no cost for them while nobody waits.
//!
//! # Orderings
//!
//! A waiter counts itself and then tries; whoever has made space looks for waiters afterwards. A
//! `SeqCst` fence between the two steps on each side makes sure that one sees the other. A ring that
//! follows the count finds a future that was made before it, and wakes it.

use crate::engine::sync::{AtomicUsize, Ordering, fence};
use crate::runtime::notify::Notify;
use crate::runtime::shield::shielded;

#[derive(Debug, Default)]
pub(super) struct Relief {
    waiters: AtomicUsize,
    bell: Notify,
}

impl Relief {
    /// Wakes all who wait. To be called after space was made.
    pub(super) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.waiters.load(Ordering::Relaxed) > 0 {
            self.bell.notify_waiters();
        }
    }

    /// Tries until there is a result, each time that space was made.
    pub(super) async fn until<R>(&self, mut attempt: impl FnMut() -> Option<R>) -> R {
        loop {
            let rung = shielded(self.bell.notified());
            let _waiter = Waiter::count(&self.waiters);
            fence(Ordering::SeqCst);
            if let Some(result) = attempt() {
                return result;
            }
            rung.await;
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
