//! Writing to a TCP socket.

use std::io::{self, IoSlice};
#[cfg(target_os = "linux")]
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll};

use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

/// The write half of a TCP socket.
pub(crate) struct TcpWriteHalf {
    half: OwnedWriteHalf,
    /// The descriptor of `half`. It is here, too, because `half` has it in other memory, which for
    /// most sockets of a fan-out nobody has touched since the last fan-out.
    #[cfg(target_os = "linux")]
    descriptor: RawFd,
}

impl TcpWriteHalf {
    pub(super) fn new(half: OwnedWriteHalf) -> Self {
        Self {
            #[cfg(target_os = "linux")]
            descriptor: half.as_ref().as_raw_fd(),
            half,
        }
    }

    /// Writes, and polls tokio only if the socket is not ready. That saves one check on a ready
    /// socket. If tokio knows that the socket is not ready, `try_write` makes no system call.
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let written = match frames {
                [frame] => self.half.try_write(frame),
                _ => self.half.try_write_vectored(frames),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                written => return Poll::Ready(written),
            }
            if self.socket().poll_write_ready(cx)?.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Writes without tokio, which would first read its own state of the socket: more memory that
    /// nobody has touched. If the write would block, the caller polls next, which updates tokio's
    /// state.
    #[cfg(target_os = "linux")]
    pub(super) fn try_write(&self, frames: &[u8]) -> Poll<io::Result<usize>> {
        use nix::errno::Errno;
        use nix::sys::socket::{MsgFlags, send};

        loop {
            match send(self.descriptor, frames, MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Poll::Pending,
                written => return Poll::Ready(written.map_err(io::Error::from)),
            }
        }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        self.half.as_ref()
    }
}
