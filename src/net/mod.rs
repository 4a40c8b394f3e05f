//! The network: the two halves of a stream, the reader, and the limits on connections and clients.
//!
//! It owns sockets and buffers. It knows the engine and [`ws`](crate::ws) below it, and nothing of hubs,
//! handlers or messages above.

mod admission;
mod events;
mod guard;
#[cfg(roomcast_loom)]
pub(crate) mod parts;
#[cfg(feature = "server")]
mod patient;
mod rate;
mod reader;
#[cfg(feature = "server")]
mod received;
mod stream;

pub(crate) use admission::{Admission, AdmissionLimits, Denied};
pub(crate) use guard::{Listener, Rates};
#[cfg(feature = "server")]
pub(crate) use patient::Patient;
pub(crate) use rate::Rate;
pub(crate) use reader::{FrameReader, ReadError, ReadLimits};
#[cfg(feature = "server")]
pub(crate) use received::Received;
pub(crate) use stream::{Owner, SocketOptions, WriteHalf, into_streams};
