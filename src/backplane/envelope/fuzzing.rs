//! The envelope for a fuzz target, which sees only what is public.

use super::{Body, Envelope, Header, Message, Packer, encode_message};
use crate::engine::frame;

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
