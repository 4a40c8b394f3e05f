//! Waiting for a condition that other threads make true.
//!
//! # Orderings
//!
//! A waiter counts itself, and then looks at the condition. A ringer changes something, and then looks for
//! waiters: a `SeqCst` fence between the two steps on each side makes sure that one sees the other.

use std::pin::pin;

use super::notify::Notify;
use super::shield::shielded;
use crate::engine::sync::{AtomicUsize, Ordering, fence};

/// Wakes those who wait, and costs next to nothing where nobody does.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// How many wait. They guard no other memory.
    waiting: AtomicUsize,
    moved: Notify,
}

impl Bell {
    /// Has those who wait look again.
    pub(crate) fn ring(&self) {
        // Pairs with the fence in `until`.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.moved.notify_waiters();
        }
    }

    /// Waits until a condition holds. It is looked at now, and each time that the bell rings.
    ///
    /// # Cancel safety
    /// Nothing is changed by it.
    pub(crate) async fn until(&self, mut condition: impl FnMut() -> bool) {
        let _waiting = Waiting::on(&self.waiting);
        loop {
            let mut moved = pin!(self.moved.notified());
            moved.as_mut().enable();
            // Pairs with the fence in `ring`.
            fence(Ordering::SeqCst);
            if condition() {
                return;
            }
            shielded(moved).await;
        }
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}

/// One that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn on(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
