//! Writing to a TCP socket.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use tokio::net::tcp::OwnedWriteHalf;

/// Writes, and polls tokio only if the socket is not ready. That saves one check on a ready socket.
/// If tokio knows that the socket is not ready, `try_write` makes no system call.
pub(super) fn poll_write(
    half: &OwnedWriteHalf,
    cx: &mut Context<'_>,
    frames: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    loop {
        let written = match frames {
            [frame] => half.try_write(frame),
            _ => half.try_write_vectored(frames),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            written => return Poll::Ready(written),
        }
        if half.as_ref().poll_write_ready(cx)?.is_pending() {
            return Poll::Pending;
        }
    }
}

/// Writes without tokio. Tokio would first read its own state of the socket: one more cache line,
/// which for most sockets of a fan-out nobody has touched since the last fan-out. If the write
/// would block, the caller polls next, which updates tokio's state.
#[cfg(target_os = "linux")]
pub(super) fn try_write(half: &OwnedWriteHalf, frames: &[u8]) -> Poll<io::Result<usize>> {
    use rustix::io::{Errno, retry_on_intr};
    use rustix::net::{SendFlags, send};

    match retry_on_intr(|| send(half.as_ref(), frames, SendFlags::NOSIGNAL)) {
        Err(Errno::AGAIN) => Poll::Pending,
        written => Poll::Ready(written.map_err(io::Error::from)),
    }
}
