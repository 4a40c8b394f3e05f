//! The envelopes between nodes.

use bytes::Bytes;

use crate::backplane::NodeId;
use crate::backplane::envelope::{Body, Envelope, Header, Packer, Target, encode_message};
use crate::engine::Address;

/// Packs messages, each a room and a frame, into one envelope.
pub fn pack<'a>(messages: impl IntoIterator<Item = (&'a str, &'a Bytes)>) -> Bytes {
    let mut packer = Packer::new();
    for (room, frame) in messages {
        packer.push(&encode_message(Address::Room(room), std::iter::empty(), frame));
    }
    packer.seal(Header { node: NodeId::from_bytes([7; 16]), epoch: 1, first: 0 }).into()
}

/// Reads an envelope and shows each message to a room, with its payload, to `see`; `false` where it
/// is no envelope of messages.
pub fn each_message(envelope: &[u8], mut see: impl FnMut(&str, &[u8])) -> bool {
    let Ok(Envelope { body: Body::Messages(messages), .. }) = Envelope::parse(envelope) else {
        return false;
    };
    for message in messages {
        if let Target::Room(room) = message.target {
            see(room, message.payload);
        }
    }
    true
}
