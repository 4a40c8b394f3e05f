//! The events that a decoder returns.

use std::num::NonZero;

use simdutf8::basic::from_utf8;

use super::error::ProtocolError;
use super::header::Control;
use crate::engine::{Close, CloseCode, FrameKind};

/// The length of a compressed payload. It fits into the gap beside the kind of a message, so that
/// plain messages pay nothing for it. 0 counts as 1, and lengths over 4 GiB count as 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompressedBytes(NonZero<u32>);

impl CompressedBytes {
    #[cfg(feature = "deflate")]
    pub(super) fn of(payload: &[u8]) -> Self {
        let bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        Self(NonZero::new(bytes).unwrap_or(NonZero::<u32>::MIN))
    }

    pub(crate) fn get(self) -> usize {
        self.0.get() as usize
    }
}

/// A message or a control frame that a client has sent, complete, unmasked and inflated.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A message, assembled from its fragments.
    Message {
        /// Text or binary. The payload of [`FrameKind::Text`] is UTF-8.
        kind: FrameKind,
        /// The bytes. They are mutable because simd-json parses in place.
        payload: &'a mut [u8],
        /// The length of the payload before it was inflated. `None` if the message was not
        /// compressed.
        compressed_bytes: Option<CompressedBytes>,
    },
    /// A ping with its payload, which a pong must return.
    Ping(&'a [u8]),
    /// A pong with its payload.
    Pong(&'a [u8]),
    /// A close frame, after which the client sends nothing. [`CloseCode::NO_STATUS`] if the frame
    /// was empty.
    Close(Close),
}

impl<'a> Event<'a> {
    /// Makes the event of a message that is whole in `payload`. Checks its text.
    #[inline]
    pub(super) fn message(
        kind: FrameKind,
        payload: &'a mut [u8],
        compressed_bytes: Option<CompressedBytes>,
    ) -> Result<Self, ProtocolError> {
        // Most text is ASCII, which is cheaper to check. The check took a frame of 128 bytes from
        // 17 to 14 ns, and a frame of 32 bytes, which is too short for the vectors of the
        // validator, from 24 to 13 ns (AVX2).
        let is_valid =
            kind == FrameKind::Binary || payload.is_ascii() || from_utf8(payload).is_ok();
        if !is_valid {
            return Err(ProtocolError::payload("text is not UTF-8"));
        }
        Ok(Self::Message { kind, payload, compressed_bytes })
    }

    /// Makes the event of a control frame.
    #[inline]
    pub(super) fn control(control: Control, payload: &'a [u8]) -> Result<Self, ProtocolError> {
        match control {
            Control::Ping => Ok(Self::Ping(payload)),
            Control::Pong => Ok(Self::Pong(payload)),
            Control::Close => close(payload).map(Self::Close),
        }
    }
}

fn close(payload: &[u8]) -> Result<Close, ProtocolError> {
    if payload.is_empty() {
        return Ok(Close::new(CloseCode::NO_STATUS, ""));
    }
    let Some((code, reason)) = payload.split_first_chunk() else {
        return Err(ProtocolError::framing("close payload of 1 byte"));
    };
    let code = CloseCode::from(u16::from_be_bytes(*code));
    // Both sides may send the same codes (RFC 6455, section 7.4).
    if !code.is_sendable() {
        return Err(ProtocolError::framing("close code not allowed on the wire"));
    }
    let reason =
        from_utf8(reason).map_err(|_| ProtocolError::payload("close reason is not UTF-8"))?;
    Ok(Close::new(code, reason.to_owned()))
}
