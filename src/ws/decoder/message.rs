//! A data message that is put together piece by piece.

use simdutf8::compat::from_utf8;

use super::error::ProtocolError;
use crate::engine::{FrameKind, Limit};

/// The front of a message: what has arrived of it, unmasked.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: FrameKind,
    /// Frames that have begun, empty ones too.
    fragments: u32,
    payload: Vec<u8>,
    /// How much of the payload of a text is known to be whole characters. At most three bytes
    /// follow, the front of a character that was cut.
    validated: usize,
}

impl Message {
    /// An empty message. Owns no memory yet.
    pub(super) fn new(kind: FrameKind) -> Self {
        Self { kind, fragments: 0, payload: Vec::new(), validated: 0 }
    }

    /// The bytes that have arrived.
    pub(super) fn bytes(&self) -> usize {
        self.payload.len()
    }

    /// Notes that a frame of it begins.
    ///
    /// # Errors
    /// It is one too many.
    pub(super) fn begin_fragment(&mut self, fragments_max: u32) -> Result<(), ProtocolError> {
        self.fragments += 1;
        if self.fragments <= fragments_max {
            Ok(())
        } else {
            Err(ProtocolError::Over(Limit::Fragments))
        }
    }

    /// Appends a piece; `bytes_max` is what the whole message can have, as far as is known.
    ///
    /// # Errors
    /// The text cannot become UTF-8 any more, whatever follows.
    pub(super) fn append(&mut self, piece: &[u8], bytes_max: usize) -> Result<(), ProtocolError> {
        extend(&mut self.payload, piece, bytes_max);
        if self.kind == FrameKind::Binary {
            return Ok(());
        }
        match from_utf8(&self.payload[self.validated..]) {
            Ok(_) => self.validated = self.payload.len(),
            // Without a length the error is the end of the bytes, inside a character.
            Err(error) if error.error_len().is_none() => self.validated += error.valid_up_to(),
            Err(_) => return Err(ProtocolError::not_utf8("text is not UTF-8")),
        }
        Ok(())
    }

    /// The payload of the message, which is now complete.
    ///
    /// # Errors
    /// The text is not UTF-8.
    pub(super) fn finish(self) -> Result<Vec<u8>, ProtocolError> {
        if self.kind == FrameKind::Text && self.validated < self.payload.len() {
            return Err(ProtocolError::not_utf8("text is not UTF-8"));
        }
        Ok(self.payload)
    }
}

/// Appends `piece`, in a buffer that doubles but never has room for more than `bytes_max`.
///
/// The room follows what has arrived, since a peer can declare what it likes: a buffer holds at most
/// twice the bytes that it was sent.
pub(super) fn extend(buffer: &mut Vec<u8>, piece: &[u8], bytes_max: usize) {
    let needed = buffer.len() + piece.len();
    if needed > buffer.capacity() {
        let doubled = (buffer.capacity() * 2).min(bytes_max);
        buffer.reserve_exact(needed.max(doubled) - buffer.len());
    }
    buffer.extend_from_slice(piece);
}

#[cfg(test)]
impl Message {
    /// The room of the buffer, and the bytes behind the validated front.
    pub(super) fn footprint(&self) -> (usize, usize) {
        (self.payload.capacity(), self.payload.len() - self.validated)
    }
}
