//! A stream of the application in halves, for a reader and a writer in two tasks.
//!
//! Any type under hyper may be one, with code that is not ours: what it panics with ends its own connection,
//! and not the task of the shard that happens to write to it, nor that of whoever drops it last.

use std::any::Any;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, ready};

use atomic_waker::AtomicWaker;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Owner;
use crate::transport::events;

type AnyStream = TokioIo<Upgraded>;

/// What the halves share.
struct Shared {
    /// None once it has panicked. Held for as long as one call into it takes.
    stream: Mutex<Option<AnyStream>>,
    /// The writer, while it waits for the lock.
    writer: AtomicWaker,
    owner: Owner,
}

/// Where a session reads from.
pub(crate) struct AnyReadHalf(Arc<Shared>);

/// Where a shard writes to. It does not wait for a stream that is just being read: the reader wakes it.
pub(crate) struct AnyWriteHalf(Arc<Shared>);

/// Makes two halves of a stream.
pub(super) fn split(upgraded: Upgraded, owner: Owner) -> (AnyReadHalf, AnyWriteHalf) {
    let stream = Mutex::new(Some(TokioIo::new(upgraded)));
    let shared = Arc::new(Shared { stream, writer: AtomicWaker::new(), owner });
    (AnyReadHalf(shared.clone()), AnyWriteHalf(shared))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<AnyStream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Option<AnyStream>>> {
        match self.stream.try_lock() {
            Ok(stream) => Some(stream),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Calls into a stream that may panic, and gives it up if it does.
    fn call<R>(
        &self,
        stream: &mut Option<AnyStream>,
        step: impl FnOnce(Pin<&mut AnyStream>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let Some(open) = stream else { return Poll::Ready(Err(panicked())) };
        match catch_unwind(AssertUnwindSafe(|| step(Pin::new(open)))) {
            Ok(done) => done,
            Err(payload) => {
                self.note(&*payload);
                self.drop_stream(stream);
                Poll::Ready(Err(panicked()))
            }
        }
    }

    fn drop_stream(&self, stream: &mut Option<AnyStream>) {
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(stream.take())));
        let _ = dropped.inspect_err(|payload| self.note(&**payload));
    }

    fn note(&self, payload: &(dyn Any + Send)) {
        self.owner.port.counters().stream_panics.add(1);
        events::stream_panicked(self.owner.id.as_u64(), payload);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut stream = self.lock().take();
        self.drop_stream(&mut stream);
    }
}

fn panicked() -> io::Error {
    io::Error::other("the stream panicked")
}

impl AnyReadHalf {
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.0.call(&mut self.0.lock(), |stream| stream.poll_read(cx, buffer));
        self.0.writer.wake();
        read
    }
}

impl AnyWriteHalf {
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut stream = ready!(self.poll_lock(cx));
        self.0.call(&mut stream, |stream| stream.poll_write_vectored(cx, frames))
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = ready!(self.poll_lock(cx));
        self.0.call(&mut stream, |stream| stream.poll_flush(cx))
    }

    /// For a stream to which all that was written has left.
    pub(super) fn shut_down(&self, cx: &mut Context<'_>) {
        // A read that is under way is short, and there is no second chance.
        let _ = self.0.call(&mut self.0.lock(), |stream| stream.poll_shutdown(cx));
    }

    fn poll_lock(&self, cx: &mut Context<'_>) -> Poll<MutexGuard<'_, Option<AnyStream>>> {
        if let Some(stream) = self.0.try_lock() {
            return Poll::Ready(stream);
        }
        self.0.writer.register(cx.waker());
        // The reader may have let go of it before it could see the waker.
        self.0.try_lock().map_or(Poll::Pending, Poll::Ready)
    }
}
