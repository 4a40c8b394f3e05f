//! The private parts of the network that models use. Only for builds of a model checker.

use std::task::{Context, Poll};

use super::stream::halves;

/// A stream in halves.
pub struct Halves<S>(halves::Halves<S>);

impl<S> Halves<S> {
    /// Makes the halves of a stream.
    pub fn new(stream: S) -> Self {
        Self(halves::Halves::new(stream))
    }

    /// Calls `act` with the stream, as its reader.
    pub fn read<R>(&self, act: impl FnOnce(&mut S) -> R) -> R {
        self.0.read(act)
    }

    /// Calls `act` with the stream, as its writer. Pending while the reader has the lock.
    pub fn poll_write<R>(&self, cx: &mut Context<'_>, act: impl FnOnce(&mut S) -> R) -> Poll<R> {
        self.0.poll_lock(cx).map(|mut stream| act(&mut stream))
    }
}
