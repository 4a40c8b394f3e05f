//! Writes to several sockets at once, as a trait for the shard.

use std::io;
use std::task::Poll;

use super::socket::Socket;

/// What a socket took: the result of [`Socket::try_write`].
pub type WriteResult = Poll<io::Result<usize>>;

/// Writes to several sockets with fewer system calls than one for each.
pub trait BatchWriter<S: Socket>: Send {
    /// Whether writes to this socket may be part of a batch.
    fn accepts(&self, socket: &S) -> bool;

    /// Writes the bytes of each pair to its socket, as [`Socket::try_write`] does. A socket occurs
    /// once at most. The results are added to `results`, in the order of `writes`. If the writer
    /// fails, the last results may be missing: nothing was written to those sockets.
    fn write(&mut self, writes: &[(&S, &[u8])], results: &mut Vec<WriteResult>);
}
