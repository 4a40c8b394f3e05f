//! The network: the two halves of a stream, the reader, and the limits on connections and clients.
//!
//! This module owns sockets and buffers. It knows the engine and [`ws`](crate::ws) below it. It
//! does not know the hubs, handlers and typed messages above it.

mod admission;
mod client_limits;
mod events;
#[cfg(roomcast_loom)]
pub(crate) mod parts;
mod rate;
#[cfg(feature = "server")]
mod read_log;
mod reader;
#[cfg(all(feature = "io-uring", target_os = "linux"))]
mod ring;
mod stream;
#[cfg(feature = "server")]
mod write_timeout;

pub(crate) use admission::{Admission, AdmissionLimits, Denied};
pub(crate) use client_limits::{Liveness, Rates};
pub(crate) use rate::Rate;
#[cfg(feature = "server")]
pub(crate) use read_log::ReadLog;
pub(crate) use reader::{FrameReader, ReadError, ReadLimits};
pub(crate) use stream::{Owner, SocketOptions, WriteHalf, into_streams};
#[cfg(feature = "server")]
pub(crate) use write_timeout::WriteTimeout;

use std::sync::Arc;

use crate::engine::{BatchWriter, Port};

/// Makes what writes to many sockets at once, for the shard behind this port; `None` if that is not
/// possible here, or not allowed.
pub(crate) fn batch_writer(
    port: &Arc<Port<WriteHalf>>,
    may_use_io_uring: bool,
) -> Option<Box<dyn BatchWriter<WriteHalf>>> {
    #[cfg(all(feature = "io-uring", target_os = "linux"))]
    if may_use_io_uring {
        return ring::RingWriter::new(port.clone()).map(|writer| Box::new(writer) as _);
    }
    let _ = (port, may_use_io_uring);
    None
}
