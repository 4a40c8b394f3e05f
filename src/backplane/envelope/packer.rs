//! Many messages to one envelope.

use super::{EnvelopeHeader, HEADER_BYTES, KIND_MESSAGES, length, put_header};

/// The bytes of an envelope past which the next message starts another one. Large enough that the
/// cost of a command (about 2 µs of a Redis server) is nothing beside that of its messages, small
/// enough that a receiver that starts to read one has the first message within a millisecond.
pub(crate) const ENVELOPE_BYTES_MAX: usize = 256 << 10;

/// The messages of an envelope. With the smallest ones, the bytes alone would allow 20,000: a
/// receiver hands over about 4,000 in a millisecond.
pub(crate) const ENVELOPE_MESSAGES_MAX: usize = 4_096;

/// An envelope in the making.
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
    /// How many messages are in it.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether it can take a message of that size, by the bounds; an empty one takes any.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        self.count == 0
            || self.count < ENVELOPE_MESSAGES_MAX && self.buffer.len() + bytes <= ENVELOPE_BYTES_MAX
    }

    /// Adds an encoded message.
    pub fn push(&mut self, message: &[u8]) {
        self.buffer.extend_from_slice(message);
        self.count += 1;
    }

    /// The finished envelope.
    pub fn seal(mut self, header: EnvelopeHeader) -> Vec<u8> {
        put_header(&mut self.buffer[..HEADER_BYTES], KIND_MESSAGES, header, length(self.count));
        self.buffer
    }
}
