//! Writing to many TCP sockets at once, with io_uring.
//!
//! A fan-out writes the same frames to many sockets. With a ring, one system call sends to up to
//! [`ENTRIES`] sockets. Nothing else goes through the ring: tokio reads, and tells when a full
//! socket takes bytes again. Where the kernel or a container does not allow rings, each write is a
//! system call of its own.

mod events;
mod sends;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::Poll;

use self::sends::{Ring, SendResult, SendTo};
use super::stream::WriteHalf;
use crate::engine::{BatchWriter, Port, WriteResult};

/// The most sends of one system call. With more, a send does not cost less.
const ENTRIES: u32 = 64;

/// A ring for the writes of a shard.
pub(crate) struct RingWriter {
    /// `None` after the ring has failed.
    ring: Option<Ring>,
    /// The port counts the rings.
    port: Arc<Port<WriteHalf>>,
    results: Vec<SendResult>,
}

impl RingWriter {
    /// Makes a ring for the shard behind this port; `None` if that is not possible here.
    pub(crate) fn new(port: Arc<Port<WriteHalf>>) -> Option<Self> {
        match Ring::new(ENTRIES) {
            Ok(ring) => {
                port.counters().rings.add(1);
                Some(Self { ring: Some(ring), port, results: Vec::new() })
            }
            Err(error) => {
                events::no_ring(&error);
                None
            }
        }
    }

    /// Sends what the ring can send. The results of the others are missing, at the end.
    fn send(&mut self, sends: &[SendTo<'_>]) {
        self.results.clear();
        let Some(ring) = &mut self.ring else { return };
        if let Err(error) = ring.send(sends, &mut self.results) {
            events::ring_failed(&error);
            self.drop_ring();
        }
    }

    fn drop_ring(&mut self) {
        if self.ring.take().is_some() {
            self.port.counters().rings.sub(1);
        }
    }
}

impl BatchWriter<WriteHalf> for RingWriter {
    fn accepts(&self, socket: &WriteHalf) -> bool {
        self.ring.is_some() && matches!(socket, WriteHalf::Tcp(_))
    }

    fn write(&mut self, writes: &[(&WriteHalf, &[u8])], results: &mut Vec<WriteResult>) {
        let sends: Vec<SendTo<'_>> =
            writes.iter().map(|(socket, frames)| to_tcp(socket, frames)).collect();
        self.send(&sends);
        results.extend(self.results.drain(..).map(into_write_result));
    }
}

fn to_tcp<'a>(socket: &'a WriteHalf, frames: &'a [u8]) -> SendTo<'a> {
    match socket {
        WriteHalf::Tcp(half) => (half.socket().as_fd(), frames),
        _ => unreachable!("the writer accepts TCP sockets only"),
    }
}

fn into_write_result(result: SendResult) -> WriteResult {
    match result {
        Ok(Some(bytes)) => Poll::Ready(Ok(bytes)),
        Ok(None) => Poll::Pending,
        Err(error) => Poll::Ready(Err(io::Error::from(error))),
    }
}

impl Drop for RingWriter {
    fn drop(&mut self) {
        self.drop_ring();
    }
}
