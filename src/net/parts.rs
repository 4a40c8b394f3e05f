//! What models see of the network's private parts, in the builds of a model checker alone.

use std::task::{Context, Poll};

use super::stream::halves;

/// A stream in halves.
pub struct Halves<S>(halves::Halves<S>);

impl<S> Halves<S> {
    /// A stream whose lock is free.
    pub fn new(stream: S) -> Self {
        Self(halves::Halves::new(stream))
    }

    /// Does something with the stream as its reader.
    pub fn read<R>(&self, act: impl FnOnce(&mut S) -> R) -> R {
        self.0.read(act)
    }

    /// Does something with the stream as its writer; pending while the reader has the lock.
    pub fn poll_write<R>(&self, cx: &mut Context<'_>, act: impl FnOnce(&mut S) -> R) -> Poll<R> {
        self.0.poll_lock(cx).map(|mut stream| act(&mut stream))
    }
}
