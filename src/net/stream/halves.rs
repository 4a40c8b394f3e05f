//! A stream whose reader and writer are in two tasks, and each may need the state of the other.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;

/// What the halves of a stream share. The reader may hold the lock for a while; the writer, a shard,
/// must not wait for one client, so a reader that lets go wakes it.
pub(super) struct Halves<S> {
    stream: Mutex<S>,
    /// The writer, while it waits for the lock.
    writer: AtomicWaker,
}

impl<S> Halves<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream: Mutex::new(stream), writer: AtomicWaker::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, S> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock for the writer; pending while the reader has it.
    pub(super) fn poll_lock(&self, cx: &mut Context<'_>) -> Poll<MutexGuard<'_, S>> {
        let stream = self.try_lock().or_else(|| {
            self.writer.register(cx.waker());
            // The reader may have let go before it could see the waker.
            self.try_lock()
        });
        stream.map_or(Poll::Pending, Poll::Ready)
    }

    /// The reader has let go.
    pub(super) fn wake_writer(&self) {
        self.writer.wake();
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, S>> {
        match self.stream.try_lock() {
            Ok(stream) => Some(stream),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
