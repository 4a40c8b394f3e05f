//! How the thread of a shard learns that the runtime of the application ends.
//!
//! # Invariants
//!
//! 1. A thread polls a timer of the runtime only while it [holds](RuntimeLink::hold) the link. A
//!    runtime that ends drops its tasks before it ends its timers, and the drop of the [`Sentinel`]
//!    waits until nobody holds the link. So no thread polls a timer that has ended, which would
//!    panic.
//! 2. A thread leaves its waker with the link before it sleeps. So the end of the runtime wakes it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// The thread of one shard holds this while it polls its timer.
#[derive(Default)]
pub(super) struct RuntimeLink(Mutex<State>);

#[derive(Default)]
struct State {
    is_ending: bool,
    /// The waker of the shard.
    waker: Option<Waker>,
}

/// While it lives, the runtime does not end its timers.
pub(super) struct Held<'a>(#[expect(dead_code, reason = "held")] MutexGuard<'a, State>);

impl RuntimeLink {
    /// Holds the link, and leaves the waker in it; `None` if the runtime ends or has ended.
    pub(super) fn hold(&self, waker: &Waker) -> Option<Held<'_>> {
        let mut state = self.lock();
        if state.is_ending {
            return None;
        }
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            unknown => *unknown = Some(waker.clone()),
        }
        Some(Held(state))
    }

    pub(super) fn is_ending(&self) -> bool {
        self.lock().is_ending
    }

    fn end(&self) {
        let mut state = self.lock();
        state.is_ending = true;
        let waker = state.waker.take();
        drop(state);
        waker.inspect(Waker::wake_by_ref);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Belongs to a task of the runtime. It is dropped when the runtime begins to end, or when all
/// shards are gone, and tells the shards.
pub(super) struct Sentinel(pub(super) Vec<Arc<RuntimeLink>>);

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.0.iter().for_each(|link| link.end());
    }
}
