//! The writing side of a connection, as a trait for the shard.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The bytes that the peer of a socket has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// Bytes since the connection began, including those that TLS adds.
    pub bytes: u64,
    /// Whether all written bytes are acknowledged.
    pub is_all: bool,
}

/// The writing side of one connection.
///
/// The shard is the only writer. It calls `try_write` first, and `poll_write` after the socket has
/// not taken everything: an implementation registers the waker of the last call.
pub trait Socket: Send + 'static {
    /// Whether the stream exists yet. `false` for a placeholder: it takes nothing, and no timeout
    /// runs before [`Port::set_socket`](super::Port::set_socket).
    fn is_there(&self) -> bool {
        true
    }

    /// Writes as much of `frames` as it can, in order and if possible in one system call.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Writes as much of `frames` as it can without waiting: most frames leave this way. `Pending`
    /// if the socket takes nothing. Registers no waker: if anything is left to send,
    /// [`poll_write`](Self::poll_write) is called next.
    fn try_write(&mut self, frames: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write(&mut Context::from_waker(Waker::noop()), &[IoSlice::new(frames)])
    }

    /// Writes out what the implementation itself holds back, as TLS does.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the stream to the peer. What was written before still arrives.
    fn shut_down(&mut self);

    /// Gives up the connection: written data that has not arrived may be lost. The peer still has
    /// to learn of the end, as soon as it can be reached.
    fn abort(&mut self);

    /// The bytes that the peer has acknowledged; `None` if the socket does not know. Costs a system
    /// call.
    fn acknowledged(&self) -> Option<Acknowledged> {
        None
    }

    /// Whether the peer still answers, even if it takes nothing; `None` if that is not known. A
    /// peer that was sent something may be silent for `patience`. Costs a system call.
    fn is_answered(&self, patience: Duration) -> Option<bool> {
        let _ = patience;
        None
    }

    /// Whether received bytes, or the end of the stream, wait to be read. `false` if that is not
    /// known. Costs a system call.
    fn has_unread(&self) -> bool {
        false
    }
}
