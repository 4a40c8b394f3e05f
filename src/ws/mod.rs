//! The protocol: the opening handshake with its checks, and the decoder of client frames. No I/O.
//!
//! It knows the engine's frames and close codes, and nothing else of this crate.

mod authority;
mod body;
mod decoder;
mod forwarded;
mod handshake;
#[cfg(feature = "test-util")]
mod opening;
mod origin;

#[cfg(feature = "server")]
pub(crate) use authority::port;
pub use body::{Body, Response};
pub(crate) use decoder::{DecodeLimits, Decoder, Event, ProtocolError};
#[cfg(feature = "server")]
pub(crate) use handshake::has_token;
pub(crate) use handshake::{
    ComeBack, NoUpgrade, Objection, accept, is_reserved, objection, refusal, take_upgrade,
};
pub use handshake::{ConnExtensions, PathParams, RemoteAddr};
#[cfg(feature = "test-util")]
pub(crate) use opening::Opening;
pub(crate) use origin::{OriginRule, Verdict};
