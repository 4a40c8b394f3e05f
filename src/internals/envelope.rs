//! The envelopes between nodes.

use bytes::Bytes;

use crate::backplane::NodeId;
use crate::backplane::envelope::{Body, Envelope, Header, Message, Packer, Target, encode_message};
use crate::engine::{Address, frame};

/// Packs messages, each a room and a frame, into one envelope.
pub fn pack<'a>(messages: impl IntoIterator<Item = (&'a str, &'a Bytes)>) -> Bytes {
    let mut packer = Packer::new();
    for (room, frame) in messages {
        packer.push(&encode_message(Address::Room(room), std::iter::empty(), frame));
    }
    packer.seal(Header { node: NodeId::from_bytes([7; 16]), epoch: 1, first: 0 })
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

/// Reads a payload of a channel, and writes what it found: `None` where it is no envelope.
///
/// # Panics
/// Where what was written is read as something else.
pub fn rewrite(payload: &[u8]) -> Option<Vec<u8>> {
    let Envelope { header, body } = Envelope::parse(payload).ok()?;
    let rewritten = match body.clone() {
        Body::Messages(messages) => {
            let mut packer = Packer::new();
            messages.for_each(|message| packer.push(&encode(&message)));
            packer.seal(header)
        }
        Body::Heartbeat(heartbeat) => heartbeat.seal(header),
    };
    let again = Envelope::parse(&rewritten).expect("what was written can be read");
    assert_eq!(content(header, body), content(again.header, again.body));
    Some(rewritten.to_vec())
}

fn encode(message: &Message<'_>) -> Vec<u8> {
    let rooms = message.target.rooms();
    let address = message.target.address(&rooms);
    encode_message(address, message.except.clone(), &frame::encode(message.kind, message.payload))
}

/// What an envelope says, in words that can be compared: the same things can be written in several
/// ways, such as exceptions of nobody.
fn content(header: Header, body: Body<'_>) -> String {
    match body {
        Body::Messages(messages) => format!("{header:?} {:?}", messages.collect::<Vec<_>>()),
        Body::Heartbeat(heartbeat) => format!("{header:?} {heartbeat:?}"),
    }
}
