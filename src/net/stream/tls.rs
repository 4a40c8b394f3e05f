//! A TLS stream of the server in halves, for a reader and a writer in two tasks.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::halves::Halves;

/// The most bytes of a record: 16 KiB, and what TLS adds (RFC 8446, section 5.2).
const RECORD_BYTES_MAX: usize = 17 * 1024;

/// Bytes of records that may wait for the socket. What waits beyond it waits in the send queue, where it is
/// shared and counted. Bursts of 64 KiB cost 2.8 times as much as without TLS where this is one record, for
/// each leaves in a write of its own, 1.9 times with two, and 1.7 with four.
const RECORDS_BYTES_MAX: usize = 2 * RECORD_BYTES_MAX;

/// Reads of records before others have their turn, each of 4 KiB or the rest of a record.
const READS_MAX: usize = 4;

/// What the halves share, since each direction may need the state of the other. Locked for as long as it
/// takes to open about 16 KiB, or to seal twice as much.
type TlsHalves = Halves<TlsStream<TcpStream>>;

/// Where a session reads from.
pub(crate) struct TlsReadHalf {
    shared: Arc<TlsHalves>,
    /// Bytes that were received and not read, nor taken as overhead.
    unread: usize,
}

/// Where a shard writes to. It must not wait for one client: where the reader has the lock, as often while a
/// client floods it, a write is pending, and the reader wakes it when it lets go.
pub(crate) struct TlsWriteHalf(Arc<TlsHalves>);

/// Makes two halves of a stream.
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

    /// Does something with the socket beneath.
    pub(super) fn with_socket<R>(&self, act: impl FnOnce(SockRef<'_>) -> R) -> R {
        self.shared.read(|stream| act(SockRef::from(stream.get_ref().0)))
    }

    /// Takes the number of bytes that came and were nothing to read: records cost, whatever is in them. What
    /// may be the front of a record is not among them yet.
    pub(super) fn take_overhead(&mut self) -> usize {
        let overhead = self.unread.saturating_sub(RECORD_BYTES_MAX);
        self.unread -= overhead;
        overhead
    }
}

/// Opens records until one of them has something in it. Not [`TlsStream`]'s own, which does so for as long as
/// records come, and does not tell how many.
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
            // The alert that says so to the client, if the socket takes it.
            let _ = session.write_tls(&mut Records { socket, cx });
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// The records of a socket, as rustls reads and writes them.
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

    /// Does something with the socket beneath.
    pub(super) fn with_socket<R>(&self, act: impl FnOnce(SockRef<'_>) -> R) -> R {
        act(SockRef::from(self.0.lock().get_ref().0))
    }
}
