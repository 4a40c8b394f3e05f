//! A stream whose reader and writer are in two tasks, and each may need the state of the other.
//!
//! The reader is a session, and may hold the lock for a while. The writer is a shard, which must not wait for one
//! client: where the lock is taken, a write is pending, and the reader wakes the shard.
//!
//! # Invariants
//!
//! 1. Every time that the reader has held the lock, it wakes the writer, after it has let go of the lock.
//! 2. The writer registers its waker, and then tries the lock once more before it is pending. So the reader finds the
//!    waker, or the writer finds the lock free.
//! 3. Only the reader and the writer take the lock. Neither holds it across a wait.
//!
//! A model checks that the writer is always woken (`tests/models/loom/halves.rs`).

use std::sync::{PoisonError, TryLockError};
use std::task::{Context, Poll};

use crate::engine::sync::{AtomicWaker, Mutex, MutexGuard};

/// What the halves of a stream share.
pub(crate) struct Halves<S> {
    stream: Mutex<S>,
    /// The writer, while it waits for the lock.
    writer: AtomicWaker,
}

impl<S> Halves<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream: Mutex::new(stream), writer: AtomicWaker::new() }
    }

    /// Does something with the stream as its reader. Waits for the lock.
    pub(crate) fn read<R>(&self, act: impl FnOnce(&mut S) -> R) -> R {
        let result = act(&mut self.lock());
        // Invariant 1: the lock is free again.
        self.writer.wake();
        result
    }

    /// The lock, for the writer and for what is done at the end. Waits for the reader.
    pub(crate) fn lock(&self) -> MutexGuard<'_, S> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, for the writer; pending while the reader has it.
    pub(crate) fn poll_lock(&self, cx: &mut Context<'_>) -> Poll<MutexGuard<'_, S>> {
        let stream = self.try_lock().or_else(|| {
            self.writer.register(cx.waker());
            // Invariant 2: the reader may have let go before it could see the waker.
            self.try_lock()
        });
        stream.map_or(Poll::Pending, Poll::Ready)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, S>> {
        match self.stream.try_lock() {
            Ok(stream) => Some(stream),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
