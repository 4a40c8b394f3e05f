//! A TLS stream of the server in halves, for a reader and a writer in two tasks.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// One half. Both share the session, since each direction may need the state of the other; the lock is
/// held while at most 16 KiB are sealed or opened, and never across an await.
pub(crate) struct TlsHalf(Arc<Mutex<TlsStream<TcpStream>>>);

/// Makes two halves of a stream.
pub(super) fn split(stream: TlsStream<TcpStream>) -> (TlsHalf, TlsHalf) {
    let shared = Arc::new(Mutex::new(stream));
    (TlsHalf(shared.clone()), TlsHalf(shared))
}

impl TlsHalf {
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_read(cx, buffer)
    }

    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write_vectored(cx, frames)
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }

    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }

    /// Does something with the socket beneath.
    pub(super) fn with_socket(&self, act: impl FnOnce(SockRef<'_>)) {
        act(SockRef::from(self.lock().get_ref().0));
    }

    fn lock(&self) -> MutexGuard<'_, TlsStream<TcpStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
