//! The writing side of a connection, as the shard sees it.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What the peer of a socket has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// Bytes since the connection began, with what TLS adds.
    pub bytes: u64,
    /// Whether nothing is left that was written and not acknowledged.
    pub is_all: bool,
}

/// Where a shard writes the frames of one connection.
///
/// The shard is the only writer. It tries first, and polls when the socket has not taken everything:
/// an implementation registers the waker of its last call.
pub trait Socket: Send + 'static {
    /// Whether there is a stream at all. `false` for what keeps the place of one that is still to come:
    /// that takes nothing, and no timeout runs before [`Port::set_socket`](super::Port::set_socket).
    fn is_there(&self) -> bool {
        true
    }

    /// Writes what it can of `frames`, one after the other, in one system call where it can.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Writes what it can of `frames` without waiting for more: how most frames leave. `Pending` where
    /// it takes nothing. Registers no waker: where anything is left to send,
    /// [`poll_write`](Self::poll_write) is called next.
    fn try_write(&mut self, frames: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write(&mut Context::from_waker(Waker::noop()), &[IoSlice::new(frames)])
    }

    /// Pushes out what the implementation itself holds back, as TLS does.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Tells the peer that nothing more will come. What was written before still arrives.
    fn shut_down(&mut self);

    /// Gives the connection up: what was written and has not arrived may be lost. The peer is to learn
    /// of the end all the same, as soon as it can be reached.
    fn abort(&mut self);

    /// What the peer has acknowledged; `None` where that is not known. A system call.
    fn acknowledged(&self) -> Option<Acknowledged> {
        None
    }

    /// Whether the peer still answers, be it that it takes nothing; `None` where that is not known. One that has
    /// been sent something may be silent for `patience`. A system call.
    fn is_answered(&self, patience: Duration) -> Option<bool> {
        let _ = patience;
        None
    }

    /// Whether bytes, or the end of the stream, have been received and wait to be read. `false` where
    /// that is not known. A system call.
    fn has_unread(&self) -> bool {
        false
    }
}
