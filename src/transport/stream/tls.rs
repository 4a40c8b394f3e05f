//! A TLS stream of the server in halves, for a reader and a writer in two tasks.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// One half. Both share the session, since each direction may need the state of the other.
///
/// The writer is a shard, which must not wait for one client: where the reader has the lock, as it has for
/// long while a client floods it, a write is pending, and the reader wakes it when it lets go. The reader
/// waits for a writer, who seals at most [`RECORDS_BYTES_MAX`] at once.
pub(crate) struct TlsHalf(Arc<Shared>);

struct Shared {
    stream: Mutex<TlsStream<TcpStream>>,
    /// The writer, while it waits for the lock.
    writer: AtomicWaker,
}

/// Bytes of records that may wait for the socket: a full one, and what TLS adds. What waits beyond it waits in
/// the send queue, where it is shared and counted.
const RECORDS_BYTES_MAX: usize = 17 * 1024;

/// Makes two halves of a stream.
pub(super) fn split(mut stream: TlsStream<TcpStream>) -> (TlsHalf, TlsHalf) {
    stream.get_mut().1.set_buffer_limit(Some(RECORDS_BYTES_MAX));
    let shared = Arc::new(Shared { stream: Mutex::new(stream), writer: AtomicWaker::new() });
    (TlsHalf(shared.clone()), TlsHalf(shared))
}

impl TlsHalf {
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut *self.lock()).poll_read(cx, buffer);
        self.0.writer.wake();
        read
    }

    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_as_writer(cx, |stream, cx| stream.poll_write_vectored(cx, frames))
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_as_writer(cx, |stream, cx| stream.poll_flush(cx))
    }

    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }

    /// Does something with the socket beneath.
    pub(super) fn with_socket(&self, act: impl FnOnce(SockRef<'_>)) {
        act(SockRef::from(self.lock().get_ref().0));
    }

    fn poll_as_writer<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut TlsStream<TcpStream>>, &mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        let stream = self.try_lock().or_else(|| {
            self.0.writer.register(cx.waker());
            // The reader may have let go before it could know.
            self.try_lock()
        });
        match stream {
            Some(mut stream) => poll(Pin::new(&mut *stream), cx),
            None => Poll::Pending,
        }
    }

    fn lock(&self) -> MutexGuard<'_, TlsStream<TcpStream>> {
        self.0.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, TlsStream<TcpStream>>> {
        match self.0.stream.try_lock() {
            Ok(stream) => Some(stream),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
