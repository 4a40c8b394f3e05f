//! A TLS stream of the server, in two halves for a reader and a writer in two tasks.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::halves::Halves;

/// The maximum size of a record in bytes: 16 KiB, and the bytes that TLS adds (RFC 8446, section
/// 5.2).
const RECORD_BYTES_MAX: usize = 17 * 1024;

/// Bytes of records that may wait for the socket. All other bytes wait in the send queue, where
/// they are shared and counted. With a limit of one record, a burst of 64 KiB costs 2.8 times as
/// much as without TLS, because each record is a write of its own. With two records it costs 1.9
/// times as much, with four 1.7 times.
const RECORDS_BYTES_MAX: usize = 2 * RECORD_BYTES_MAX;

/// Reads of a socket before other tasks have their turn. Each read is 4 KiB or the rest of a
/// record.
const READS_MAX: usize = 4;

/// The stream that both halves share, because each direction may need the state of the other. The
/// lock is held for as long as it takes to decrypt about 16 KiB, or to encrypt twice as much.
type TlsHalves = Halves<TlsStream<TcpStream>>;

/// The half from which a session reads.
pub(crate) struct TlsReadHalf {
    shared: Arc<TlsHalves>,
    /// Bytes that were received, and neither read nor taken as overhead.
    unread: usize,
}

/// The half to which a shard writes. A shard must not wait for one client. While the reader has the
/// lock, a write is pending. This is frequent while a client floods the connection. The reader
/// wakes the shard when it has released the lock.
pub(crate) struct TlsWriteHalf(Arc<TlsHalves>);

/// Splits a stream into two halves.
pub(super) fn split(mut stream: TlsStream<TcpStream>) -> (TlsReadHalf, TlsWriteHalf) {
    stream.get_mut().1.set_buffer_limit(Some(RECORDS_BYTES_MAX));
    let shared = Arc::new(Halves::new(stream));
    (TlsReadHalf { shared: shared.clone(), unread: 0 }, TlsWriteHalf(shared))
}

impl TlsReadHalf {
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let mut received = 0;
        let read = self.shared.read(|stream| open(stream, cx, buffer, &mut received));
        self.unread = (self.unread + received).saturating_sub(buffer.filled().len() - before);
        read
    }

    /// Calls `act` with the TCP socket.
    pub(super) fn with_socket<R>(&self, act: impl FnOnce(SockRef<'_>) -> R) -> R {
        self.shared.read(|stream| act(SockRef::from(stream.get_ref().0)))
    }

    /// Takes the number of bytes that were received and carry no data, because each record costs
    /// work, even an empty one. Bytes that may be the front of an incomplete record are not counted
    /// yet.
    pub(super) fn take_overhead(&mut self) -> usize {
        let overhead = self.unread.saturating_sub(RECORD_BYTES_MAX);
        self.unread -= overhead;
        overhead
    }
}

/// Decrypts records until one of them carries data. [`TlsStream`]'s own read is not used: it goes
/// on for as long as records arrive, and does not report how many bytes they had.
fn open(
    stream: &mut TlsStream<TcpStream>,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
    received: &mut usize,
) -> Poll<io::Result<()>> {
    let (socket, session) = stream.get_mut();
    for _ in 0..READS_MAX {
        match session.reader().read(buffer.initialize_unfilled()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => {
                buffer.advance(read?);
                return Poll::Ready(Ok(()));
            }
        }
        *received += match session.read_tls(&mut Records { socket, cx }) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            read => read?,
        };
        if let Err(error) = session.process_new_packets() {
            // Sends the alert to the client, if the socket has space.
            let _ = session.write_tls(&mut Records { socket, cx });
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// The socket, as rustls reads and writes it.
struct Records<'a, 'b> {
    socket: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl Read for Records<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut *self.socket).poll_read(self.cx, &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Records<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TlsWriteHalf {
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut stream = ready!(self.0.poll_lock(cx));
        Pin::new(&mut *stream).poll_write_vectored(cx, frames)
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = ready!(self.0.poll_lock(cx));
        Pin::new(&mut *stream).poll_flush(cx)
    }

    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_shutdown(cx)
    }

    /// Calls `act` with the TCP socket.
    pub(super) fn with_socket<R>(&self, act: impl FnOnce(SockRef<'_>) -> R) -> R {
        act(SockRef::from(self.0.lock().get_ref().0))
    }
}
