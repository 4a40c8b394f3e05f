//! A connection that was accepted, over TCP or a Unix socket.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::AsRawFd;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// A connection, with the client's address where it has one.
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Reads of 4 KiB before a refusal: a head of 16 KiB, and no more.
const DRAINS_MAX: usize = 4;

/// What both kinds of connection have in common.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn socket(&self) -> SockRef<'_>;

    /// The number of its descriptor; 0 where there are none.
    fn number(&self) -> u64 {
        #[cfg(unix)]
        return self.socket().as_raw_fd() as u64;
        #[cfg(not(unix))]
        0
    }

    /// Throws away what the client has sent so far, and answers. A new socket has space for the answer, and
    /// a client that has gone needs none.
    fn drain_and_answer(&self, answer: &[u8]) {
        let socket = self.socket();
        let mut scratch = [MaybeUninit::uninit(); 4_096];
        // Closing a socket with something unread resets it, and some clients then lose the answer.
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
