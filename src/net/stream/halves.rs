//! A stream that a reader and a writer in two tasks share, because each may need the state of the
//! other.
//!
//! The reader is a session, which may hold the lock for a while. The writer is a shard, which must
//! not wait for one client: while the reader has the lock, a write is pending, and the reader wakes
//! the shard.
//!
//! # Invariants
//!
//! 1. The reader wakes the writer each time after it has released the lock.
//! 2. The writer registers its waker, and then tries the lock once more before it is pending. So
//!    the reader finds the waker, or the writer finds the lock free.
//! 3. Only the reader and the writer take the lock. Neither holds it across a wait.
//!
//! A model checks that the writer is always woken (`tests/models/loom/halves.rs`).

use std::sync::{PoisonError, TryLockError};
use std::task::{Context, Poll};

use crate::engine::sync::{AtomicWaker, Mutex, MutexGuard};

/// A stream behind a lock, for its two halves.
pub(crate) struct Halves<S> {
    stream: Mutex<S>,
    /// The writer, while it waits for the lock.
    writer: AtomicWaker,
}

impl<S> Halves<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream: Mutex::new(stream), writer: AtomicWaker::new() }
    }

    /// Calls `act` with the stream, for the reader. Waits for the lock, and wakes the writer
    /// afterwards.
    pub(crate) fn read<R>(&self, act: impl FnOnce(&mut S) -> R) -> R {
        let result = act(&mut self.lock());
        // Invariant 1: the lock is free again.
        self.writer.wake();
        result
    }

    /// Locks the stream, for a shutdown or a short call by the writer. Waits for the reader.
    pub(crate) fn lock(&self) -> MutexGuard<'_, S> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the stream, for the writer. Pending while the reader has the lock.
    pub(crate) fn poll_lock(&self, cx: &mut Context<'_>) -> Poll<MutexGuard<'_, S>> {
        let stream = self.try_lock().or_else(|| {
            self.writer.register(cx.waker());
            // Invariant 2: the reader may have released the lock before it could see the waker.
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
