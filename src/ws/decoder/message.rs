//! A data message that is assembled piece by piece.

use simdutf8::compat::from_utf8;

use super::error::ProtocolError;
use crate::engine::{FrameKind, Limit};

/// The part of a message that has arrived, unmasked.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: FrameKind,
    pub(super) is_compressed: bool,
    /// Frames that have begun, including empty frames.
    fragments: u32,
    payload: Vec<u8>,
    /// Bytes at the front of a checked text that are known to be whole UTF-8 characters. At most
    /// three bytes follow: the beginning of a character that was cut.
    validated: usize,
}

impl Message {
    /// Makes an empty message, which owns no memory yet.
    pub(super) fn new(kind: FrameKind, is_compressed: bool) -> Self {
        Self { kind, is_compressed, fragments: 0, payload: Vec::new(), validated: 0 }
    }

    /// Returns the number of bytes that have arrived.
    pub(super) fn bytes(&self) -> usize {
        self.payload.len()
    }

    /// Counts a frame of this message that begins.
    ///
    /// # Errors
    /// [`Limit::Fragments`]: the message has more than `fragments_max` frames.
    pub(super) fn begin_fragment(&mut self, fragments_max: u32) -> Result<(), ProtocolError> {
        self.fragments += 1;
        if self.fragments <= fragments_max {
            Ok(())
        } else {
            Err(ProtocolError::Over(Limit::Fragments))
        }
    }

    /// Appends a piece. `bytes_max` is the upper bound of the whole message, as far as it is known.
    ///
    /// # Errors
    /// The text is not UTF-8, whatever follows.
    pub(super) fn append(&mut self, piece: &[u8], bytes_max: usize) -> Result<(), ProtocolError> {
        extend(&mut self.payload, piece, bytes_max);
        if !self.is_checked_text() {
            return Ok(());
        }
        match from_utf8(&self.payload[self.validated..]) {
            Ok(_) => self.validated = self.payload.len(),
            // An error without a length means that the bytes end inside a character.
            Err(error) if error.error_len().is_none() => self.validated += error.valid_up_to(),
            Err(_) => return Err(ProtocolError::payload("text is not UTF-8")),
        }
        Ok(())
    }

    /// Whether the payload must be UTF-8. The text of a compressed message is checked when it is
    /// inflated.
    fn is_checked_text(&self) -> bool {
        self.kind == FrameKind::Text && !self.is_compressed
    }

    /// Returns the payload of the message, which is now complete.
    ///
    /// # Errors
    /// The text is not UTF-8.
    pub(super) fn finish(self) -> Result<Vec<u8>, ProtocolError> {
        if self.is_checked_text() && self.validated < self.payload.len() {
            return Err(ProtocolError::payload("text is not UTF-8"));
        }
        Ok(self.payload)
    }
}

/// Appends `piece` to a buffer. Its capacity doubles, up to `bytes_max`.
///
/// The capacity follows the bytes that have arrived, because a peer can declare any length: it is
/// at most twice the bytes that the peer has sent.
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
    /// Returns the capacity of the buffer, and the bytes after the validated front.
    pub(super) fn footprint(&self) -> (usize, usize) {
        (self.payload.capacity(), self.payload.len() - self.validated)
    }
}
