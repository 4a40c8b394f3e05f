//! A stream of the application in halves, for a reader and a writer in two tasks.
//!
//! Any type under hyper may be one, with code that is not ours: what it panics with ends its own connection,
//! and not the task of the shard that happens to write to it, nor that of whoever drops it last.

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

/// What the halves share.
struct SharedStream {
    /// None once it has panicked. Locked for as long as one call into it takes.
    halves: Halves<Option<AnyStream>>,
    owner: Owner,
}

/// Where a session reads from.
pub(crate) struct AnyReadHalf(Arc<SharedStream>);

/// Where a shard writes to. It does not wait for a stream that is just being read: the reader wakes it.
pub(crate) struct AnyWriteHalf(Arc<SharedStream>);

/// Makes two halves of a stream.
pub(super) fn split(upgraded: Upgraded, owner: Owner) -> (AnyReadHalf, AnyWriteHalf) {
    let halves = Halves::new(Some(TokioIo::new(upgraded)));
    let shared = Arc::new(SharedStream { halves, owner });
    (AnyReadHalf(shared.clone()), AnyWriteHalf(shared))
}

impl SharedStream {
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

    /// For a stream to which all that was written has left.
    pub(super) fn shut_down(&self, cx: &mut Context<'_>) {
        // A read that is under way is short, and there is no second chance.
        let _ = self.0.call(&mut self.0.halves.lock(), |stream| stream.poll_shutdown(cx));
    }
}
