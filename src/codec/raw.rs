//! [`Raw`]: the codec that passes messages through.

use bytes::Bytes;

use super::{Codec, DecodeError, EncodeError};
use crate::engine::FrameKind;

/// The codec that passes text and binary messages through, for a hub of [`RawMessage`].
///
/// An empty text is a message. So such a hub answers no heartbeats, unless you turn them on
/// ([`Builder::heartbeats`](crate::Builder::heartbeats)).
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw;

/// A text or binary message as it was sent, for the codec [`Raw`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawMessage {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
}

impl Codec<RawMessage> for Raw {
    fn encode(&self, message: &RawMessage, out: &mut Vec<u8>) -> Result<FrameKind, EncodeError> {
        match message {
            RawMessage::Text(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(FrameKind::Text)
            }
            RawMessage::Binary(bytes) => {
                out.extend_from_slice(bytes);
                Ok(FrameKind::Binary)
            }
        }
    }

    fn accepts(&self, _: FrameKind) -> bool {
        true
    }

    fn takes_empty_text(&self) -> bool {
        true
    }

    fn decode(&self, kind: FrameKind, payload: &mut [u8]) -> Result<RawMessage, DecodeError> {
        match kind {
            FrameKind::Text => {
                let text = str::from_utf8(payload).map_err(DecodeError::new)?;
                Ok(RawMessage::Text(text.to_owned()))
            }
            FrameKind::Binary => Ok(RawMessage::Binary(Bytes::copy_from_slice(payload))),
        }
    }
}
