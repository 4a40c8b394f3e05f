//! Between the engine and the network: the upgrade, the two halves of a stream, the reader with its
//! decoder, and the task that drives a shard.
//!
//! It owns sockets and tasks. It knows the engine below it, and nothing of hubs, handlers or
//! messages above.

mod admission;
mod authority;
mod body;
mod decoder;
mod driver;
mod ends;
mod events;
mod forwarded;
mod guard;
#[cfg(feature = "test-util")]
mod opening;
mod origin;
#[cfg(feature = "server")]
mod patient;
mod reader;
#[cfg(feature = "server")]
mod received;
mod relief;
mod room_state;
#[cfg(feature = "metrics")]
mod sampler;
#[cfg(not(feature = "metrics"))]
#[path = "no_sampler.rs"]
mod sampler;
mod stream;
mod upgrade;

pub(crate) use admission::{Admission, AdmissionLimits, Denied};
#[cfg(feature = "server")]
pub(crate) use authority::port;
pub use body::{Body, Response};
pub(crate) use decoder::{DecodeLimits, Decoder, Event};
pub(crate) use driver::{Layout, Shards};
pub(crate) use guard::{Listener, Rates};
#[cfg(feature = "test-util")]
pub(crate) use opening::Opening;
pub(crate) use origin::{OriginRule, Verdict};
#[cfg(feature = "server")]
pub(crate) use patient::Patient;
pub(crate) use reader::{FrameReader, ReadError, ReadLimits};
#[cfg(feature = "server")]
pub(crate) use received::Received;
pub(crate) use room_state::RoomHooks;
#[cfg(feature = "metrics")]
pub(crate) use sampler::{Sample, Sampler};
pub(crate) use stream::{Owner, SocketOptions, WriteHalf, into_streams};
#[cfg(feature = "server")]
pub(crate) use upgrade::has_token;
pub(crate) use upgrade::{
    ComeBack, NoUpgrade, Objection, accept, is_reserved, objection, refusal, take_upgrade,
};
pub use upgrade::{ConnExtensions, PathParams, RemoteAddr};
