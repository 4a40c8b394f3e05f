//! The packer: puts many messages into one envelope.

use super::{EnvelopeHeader, HEADER_BYTES, KIND_MESSAGES, length, put_header};

/// The most bytes of an envelope with several messages; a single message may be larger. Large
/// enough that the cost of a command (about 2 µs of a Redis server) is small next to the cost of
/// its messages. Small enough that a receiver has parsed the envelope within a millisecond.
pub(crate) const ENVELOPE_BYTES_MAX: usize = 256 << 10;

/// The most messages of an envelope. With the smallest messages, the limit of bytes alone would
/// allow 20,000. A receiver delivers about 4,000 messages in a millisecond.
pub(crate) const ENVELOPE_MESSAGES_MAX: usize = 4_096;

/// An envelope that is being filled.
#[derive(Debug)]
pub struct Packer {
    buffer: Vec<u8>,
    count: usize,
}

impl Default for Packer {
    fn default() -> Self {
        Self { buffer: vec![0; HEADER_BYTES], count: 0 }
    }
}

impl Packer {
    /// The number of messages in the envelope.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether a message of this size fits. An empty envelope takes a message of any size.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        self.count == 0
            || self.count < ENVELOPE_MESSAGES_MAX && self.buffer.len() + bytes <= ENVELOPE_BYTES_MAX
    }

    /// Adds an encoded message.
    pub fn push(&mut self, message: &[u8]) {
        self.buffer.extend_from_slice(message);
        self.count += 1;
    }

    /// Returns the finished envelope.
    pub fn seal(mut self, header: EnvelopeHeader) -> Vec<u8> {
        put_header(&mut self.buffer[..HEADER_BYTES], KIND_MESSAGES, header, length(self.count));
        self.buffer
    }
}
