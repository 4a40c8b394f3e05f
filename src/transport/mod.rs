//! Between the engine and the network: the upgrade, the two halves of a stream, the reader with its
//! decoder, the task that drives a shard, and a small HTTP server.
//!
//! It owns sockets and tasks. It knows the engine below it, and nothing of hubs, handlers or
//! messages above.

mod admission;
mod decoder;
mod driver;
mod ends;
mod events;
mod guard;
mod origin;
mod reader;
mod relief;
#[cfg(feature = "metrics")]
mod sampler;
#[cfg(not(feature = "metrics"))]
#[path = "no_sampler.rs"]
mod sampler;
#[cfg(feature = "server")]
mod server;
mod stream;
mod upgrade;

pub(crate) use admission::{Admission, AdmissionLimits, Denied};
pub(crate) use decoder::{DecodeLimits, Decoder, Event};
pub(crate) use driver::{Layout, Shards};
pub(crate) use guard::{Listener, Rates};
pub(crate) use origin::OriginRule;
pub(crate) use reader::{FrameReader, ReadError, ReadLimits};
#[cfg(feature = "metrics")]
pub(crate) use sampler::{Sample, Sampler};
#[cfg(feature = "server")]
pub use server::{Server, ServerError, ServerMonitor, ServerStats};
#[cfg(feature = "tls")]
pub use server::{Tls, TlsError};
pub(crate) use stream::{Owner, WriteHalf, into_streams};
pub(crate) use upgrade::{ComeBack, accept, objection, refusal};
pub use upgrade::{ConnExtensions, PathParams, RemoteAddr};
