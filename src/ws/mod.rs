//! The WebSocket protocol (RFC 6455) on the server's side: the opening handshake with its checks,
//! and the decoder of client frames. With the feature `deflate`, the negotiation of
//! permessage-deflate (RFC 7692) and the inflating of messages. No I/O.
//!
//! This module knows the engine's frames and close codes, and nothing else of the crate.
//!
//! # The work of fastwebsockets, and the work of this crate
//!
//! The crate [`fastwebsockets`] does two jobs here:
//! - `fastwebsockets::upgrade::upgrade` computes `Sec-WebSocket-Accept` and builds the 101 response
//!   ([`handshake::accept`]).
//! - `fastwebsockets::unmask` unmasks the payloads of client frames ([`decoder`]).
//!
//! The test clients ([`crate::test`]) use `fastwebsockets::WebSocket` and `OpCode`, as the client's
//! side.
//!
//! This crate does the rest itself, for these reasons (measured with fastwebsockets 0.10):
//! - **Checks of the handshake** ([`handshake::objection`]): `upgrade` accepts POST, HTTP/1.0,
//!   malformed keys and any `Origin`. `is_upgrade_request` checks two headers, and needs a whole
//!   `Request` where a hub has only its `Parts`.
//! - **The upgrade future** ([`handshake::take_upgrade`]): the future of fastwebsockets resolves to
//!   `fastwebsockets::WebSocket`. A hub needs hyper's `Upgraded`, from which it takes the TCP or TLS
//!   stream, and must know before the 101 whether the upgrade is lost.
//! - **Reading frames** ([`decoder`]): the reader of fastwebsockets is not cancel-safe, because the
//!   reader advances its buffer before it awaits. It writes pongs and close echoes itself. It keeps
//!   a buffer of 8 KiB for each connection, and reserves as much memory as the header of a frame
//!   declares. A fragmented message has no bound in total, nor has the number of fragments. The
//!   reader accepts client frames that are not masked, pongs and closes of more than 125 bytes, and
//!   a text message that ends inside a UTF-8 character. A new message inside a fragmented one
//!   replaces the fragmented one. Most errors send no close frame.
//! - **Writing frames, opcodes and close codes** ([`engine::frame`](crate::engine::frame)): the
//!   engine builds without any network crate, and joins many frames into one write.

mod authority;
mod body;
mod decoder;
#[cfg(feature = "deflate")]
mod deflate;
mod forwarded;
mod handshake;
#[cfg(feature = "test-util")]
mod opened_signal;
mod origin;

#[cfg(feature = "server")]
pub(crate) use authority::port;
pub use body::{Body, Response};
pub(crate) use decoder::{DecodeLimits, Decoder, Event, OnCompressed, ProtocolError};
#[cfg(feature = "deflate")]
pub(crate) use deflate::{Agreement, Deflater, Effort, negotiate};
#[cfg(feature = "server")]
pub(crate) use handshake::has_token;
pub(crate) use handshake::{
    ComeBack, NoUpgrade, Objection, accept, is_reserved, objection, refusal, take_upgrade,
};
pub use handshake::{ConnExtensions, PathParams, RemoteAddr};
#[cfg(feature = "test-util")]
pub(crate) use opened_signal::OpenedSignal;
pub(crate) use origin::{OriginRule, Verdict};
