//! Envelopes between nodes.

use bytes::Bytes;

use crate::backplane::NodeId;
#[cfg(feature = "hmac")]
use crate::backplane::Signing;
use crate::backplane::envelope::{
    Envelope, EnvelopeBody, EnvelopeHeader, MessageContent, Packer, encode,
};
use crate::engine::{Address, Frames};

/// Packs messages, each a room and a frame, into one envelope.
pub fn pack<'a>(messages: impl IntoIterator<Item = (&'a str, &'a Bytes)>) -> Bytes {
    let mut packer = Packer::default();
    for (room, frame) in messages {
        let frame = Frames::from(frame.clone());
        packer.push(&encode(
            Address::Room(room),
            std::iter::empty(),
            MessageContent::framed(&frame),
        ));
    }
    packer.seal(EnvelopeHeader { node: NodeId::from_bytes([7; 16]), epoch: 1, first: 0 }).into()
}

/// Parses an envelope and calls `see` with the room and the payload of each message to a room.
/// Returns `false` if the bytes are not an envelope of messages.
pub fn each_message(envelope: &[u8], mut see: impl FnMut(&str, &[u8])) -> bool {
    let Ok(Envelope { body: EnvelopeBody::Messages(messages), .. }) = Envelope::parse(envelope)
    else {
        return false;
    };
    for message in messages {
        if let (Address::Room(room), MessageContent::Payload { payload, .. }) =
            (message.target, message.content)
        {
            see(room, payload);
        }
    }
    true
}

/// A key for signing envelopes.
#[cfg(feature = "hmac")]
#[derive(Debug)]
pub struct Signer(Signing);

#[cfg(feature = "hmac")]
impl Signer {
    /// Makes a signer with this key.
    pub fn new(key: &[u8]) -> Self {
        Self(Signing::with(&[key]))
    }

    /// Signs an envelope for a channel.
    pub fn seal(&self, channel: &str, envelope: Vec<u8>) -> Bytes {
        self.0.seal(channel, envelope)
    }

    /// Checks and removes the signature; `None` if it is wrong.
    pub fn open(&self, channel: &str, payload: Bytes) -> Option<Bytes> {
        self.0.open(channel, payload)
    }
}
