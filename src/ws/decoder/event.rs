//! What a decoder has found.

use simdutf8::basic::from_utf8;

use super::error::ProtocolError;
use super::header::Control;
use crate::engine::{Close, CloseCode, FrameKind};

/// One thing that a client has sent, whole and unmasked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A message, put together from its fragments.
    Message {
        /// What it is made of. A payload of [`FrameKind::Text`] is UTF-8.
        kind: FrameKind,
        /// The bytes; mutable, because there are parsers that work in place.
        payload: &'a mut [u8],
    },
    /// A ping with its payload, to be sent back in a pong.
    Ping(&'a [u8]),
    /// A pong with its payload.
    Pong(&'a [u8]),
    /// The last that the client sends. [`CloseCode::NO_STATUS`] if the frame was empty.
    Close(Close),
}

impl<'a> Event<'a> {
    /// A message of one frame: nobody has looked at its text yet.
    #[inline]
    pub(super) fn message(kind: FrameKind, payload: &'a mut [u8]) -> Result<Self, ProtocolError> {
        // Most text is ASCII, and that is cheaper to see. It took a frame of 128 bytes from 17 to
        // 14 ns and one of 32, too short for the vectors of the validator, from 24 to 13 (AVX2).
        let is_valid =
            kind == FrameKind::Binary || payload.is_ascii() || from_utf8(payload).is_ok();
        if !is_valid {
            return Err(ProtocolError::not_utf8("text is not UTF-8"));
        }
        Ok(Self::Message { kind, payload })
    }

    /// What a control frame says.
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
    // What this side may send is what that side may send: one registry, section 7.4.
    if !code.is_sendable() {
        return Err(ProtocolError::framing("close code not allowed on the wire"));
    }
    let reason =
        from_utf8(reason).map_err(|_| ProtocolError::not_utf8("close reason is not UTF-8"))?;
    Ok(Close::new(code, reason.to_owned()))
}
