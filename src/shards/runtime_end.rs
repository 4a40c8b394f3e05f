//! How the thread of a shard learns that the runtime of the application has ended.
//!
//! # Invariants
//!
//! 1. A thread polls a timer of the runtime only while it [holds](RuntimeLink::hold) the link. A
//!    runtime that ends drops its tasks before it ends its timers, and the drop of the [`Sentinel`]
//!    waits until nobody holds the link. So no thread polls a timer that has ended, which would
//!    panic.
//! 2. A thread leaves its waker with the link before it sleeps. So the end wakes it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// The thread of one shard holds it while it uses the runtime.
#[derive(Default)]
pub(super) struct RuntimeLink(Mutex<State>);

#[derive(Default)]
struct State {
    has_ended: bool,
    /// The waker of the shard.
    waker: Option<Waker>,
}

/// While it lives, the runtime does not end its timers.
pub(super) struct Held<'a>(#[expect(dead_code, reason = "held")] MutexGuard<'a, State>);

impl RuntimeLink {
    /// Holds the runtime, and leaves the waker; `None` if the runtime has ended.
    pub(super) fn hold(&self, waker: &Waker) -> Option<Held<'_>> {
        let mut state = self.lock();
        if state.has_ended {
            return None;
        }
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            unknown => *unknown = Some(waker.clone()),
        }
        Some(Held(state))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().has_ended
    }

    fn end(&self) {
        let mut state = self.lock();
        state.has_ended = true;
        let waker = state.waker.take();
        drop(state);
        waker.inspect(Waker::wake_by_ref);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a task of the runtime. Its drop tells the shards that the runtime has ended.
pub(super) struct Sentinel(pub(super) Vec<Arc<RuntimeLink>>);

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.0.iter().for_each(|link| link.end());
    }
}
