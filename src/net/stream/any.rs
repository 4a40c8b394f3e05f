//! A stream of any type, in two halves for a reader and a writer in two tasks.
//!
//! The stream may be a type of the application. Its code may panic. A panic ends only the
//! connection of this stream. The shard that writes to the stream and the task that drops the
//! stream go on.

use std::any::Any;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Owner;
use super::halves::Halves;
use crate::net::events;

type AnyStream = TokioIo<Upgraded>;

/// The stream that both halves share.
struct SharedStream {
    /// `None` once the stream has panicked. The lock is held for one call into the stream.
    halves: Halves<Option<AnyStream>>,
    owner: Owner,
}

/// The half from which a session reads.
pub(crate) struct AnyReadHalf(Arc<SharedStream>);

/// The half to which a shard writes. While the reader has the lock, a write is pending, and the
/// reader wakes the shard.
pub(crate) struct AnyWriteHalf(Arc<SharedStream>);

/// Splits a stream into two halves.
pub(super) fn split(upgraded: Upgraded, owner: Owner) -> (AnyReadHalf, AnyWriteHalf) {
    let halves = Halves::new(Some(TokioIo::new(upgraded)));
    let shared = Arc::new(SharedStream { halves, owner });
    (AnyReadHalf(shared.clone()), AnyWriteHalf(shared))
}

impl SharedStream {
    /// Calls into the stream. If the call panics, drops the stream and returns an error.
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

impl Drop for SharedStream {
    fn drop(&mut self) {
        let mut stream = self.halves.lock().take();
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
        self.0.halves.read(|stream| self.0.call(stream, |stream| stream.poll_read(cx, buffer)))
    }
}

impl AnyWriteHalf {
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut stream = ready!(self.0.halves.poll_lock(cx));
        self.0.call(&mut stream, |stream| stream.poll_write_vectored(cx, frames))
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = ready!(self.0.halves.poll_lock(cx));
        self.0.call(&mut stream, |stream| stream.poll_flush(cx))
    }

    /// Shuts the stream down. All bytes must have been written.
    pub(super) fn shut_down(&self, cx: &mut Context<'_>) {
        // Waits for the lock, because nothing calls again. A read that holds the lock is short.
        let _ = self.0.call(&mut self.0.halves.lock(), |stream| stream.poll_shutdown(cx));
    }
}
