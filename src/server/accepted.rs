//! An accepted connection, over TCP or a Unix socket.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::AsRawFd;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// A connection. A TCP connection has the address of the client.
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Reads of 4 KiB before a refusal: enough for a head of 16 KiB.
const DRAINS_MAX: usize = 4;

/// The operations that both kinds of connections have.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn socket(&self) -> SockRef<'_>;

    /// Returns the number of the descriptor, or 0 on systems without descriptors.
    fn number(&self) -> u64 {
        #[cfg(unix)]
        return self.socket().as_raw_fd() as u64;
        #[cfg(not(unix))]
        0
    }

    /// Discards the bytes that the client has sent so far, and sends an answer. A new socket has
    /// space for the answer. A failure is ignored: the client has gone.
    fn drain_and_answer(&self, answer: &[u8]) {
        let socket = self.socket();
        let mut scratch = [MaybeUninit::uninit(); 4_096];
        // Closing a socket with unread bytes resets the connection, and some clients then lose the
        // answer.
        for _ in 0..DRAINS_MAX {
            if socket.recv(&mut scratch).is_ok_and(|bytes| bytes < scratch.len()) {
                break;
            }
        }
        let _ = socket.send(answer);
    }
}

impl Stream for TcpStream {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
}

#[cfg(unix)]
impl Stream for UnixStream {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
}
