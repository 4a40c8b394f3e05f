//! A write timeout for the streams of a server, for HTTP before an upgrade: a client that does not
//! read its response loses its connection. For the clients of a hub, see `engine/shard/outlet.rs`.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::read_log::ReadLog;
use crate::runtime::deadline::poll_deadline;

/// A stream whose writes fail if the client takes nothing for `write_timeout`. It also logs its
/// reads.
pub(crate) struct WriteTimeout<S> {
    stream: S,
    reads: Arc<ReadLog>,
    write_timeout: Duration,
    /// Exists while the stream takes nothing.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The operation that began to wait when the deadline was set.
    stalled: Operation,
}

/// The operations that a client can stall, in order: when a later operation is done, so are the
/// earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Write,
    Flush,
    Shutdown,
}

impl<S> WriteTimeout<S> {
    pub(crate) fn new(stream: S, write_timeout: Duration, reads: Arc<ReadLog>) -> Self {
        Self { stream, reads, write_timeout, deadline: None, stalled: Operation::Write }
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    /// Fails an operation that has been pending for too long.
    ///
    /// TLS can take bytes that the socket does not take; then only a flush is pending. So a write
    /// that is done does not clear the deadline of a pending flush.
    fn watch<R>(
        &mut self,
        cx: &mut Context<'_>,
        operation: Operation,
        done: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if done.is_ready() {
            if operation >= self.stalled {
                self.deadline = None;
            }
            return done;
        }
        if self.deadline.is_none() {
            self.stalled = operation;
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        ready!(poll_deadline(deadline.as_mut(), self.write_timeout, cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.reads.note(&buffer.filled()[before..]);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, Operation::Write, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.watch(cx, Operation::Write, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, Operation::Flush, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, Operation::Shutdown, shut_down)
    }
}
