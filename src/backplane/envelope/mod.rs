//! The wire format between nodes: many messages, or a heartbeat, in one payload.
//!
//! All numbers are little-endian. An envelope is a header and a body:
//!
//! ```text
//! magic "RCE" · version · kind · node (16) · epoch (8) · first (8) · count (4)
//! ```
//!
//! `first` is the number of the first message, in the count that a node keeps for each channel, and
//! `count` how many there are; in a heartbeat, `first` is the number that the next message will get.
//! `epoch` is when the node began, in milliseconds since 1970: were an identity ever used twice, the
//! later one counts.
//!
//! The body of kind 0 is messages:
//!
//! ```text
//! flags · target · [excepted: count (4), (node (16) · key (8))…] · length (4) · payload
//! ```
//!
//! with text, binary, the kind of target and the verb in the flags, and a target of nothing (everyone), a
//! name (a room), a count and names (rooms), or node and key (a connection). A name is a length of four
//! bytes and UTF-8. The verb says what the payload is: of a message (0), its bytes; of a close (1), the code
//! (2) and the reason; of a join (2) and of a leave (3), the name of the room. The flags of the last three do
//! not say binary. The body of kind 1 is a [`Heartbeat`].
//!
//! With a key, the high bit of the version is set, and the signature follows behind the body, over all
//! that is before it and the channel's name: see [`Signing`].
//!
//! Reading is total and allocates nothing: it borrows from the payload.

mod heartbeat;
mod packer;
mod signing;
#[cfg(test)]
mod tests;
mod wire_message;

use bytes::{Buf, BufMut};

pub(crate) use self::heartbeat::REPORT_ROOMS_MAX;
pub use self::heartbeat::{Heartbeat, Report, RollCall, RollCallAnswer, RoomCount};
pub use self::packer::Packer;
pub(crate) use self::packer::{ENVELOPE_BYTES_MAX, ENVELOPE_MESSAGES_MAX};
pub(crate) use self::signing::Signing;
pub use self::wire_message::{
    ConnIds, MessageContent, RoomNames, WireMessage, WireMessages, encode,
};
use crate::backplane::identity::NodeId;

const MAGIC: [u8; 3] = *b"RCE";
const VERSION: u8 = 2;
/// Where the version is, in all of them.
const VERSION_AT: usize = 3;
/// Set in the version of an envelope that is signed.
const SIGNED: u8 = 0x80;
const HEADER_BYTES: usize = 3 + 1 + 1 + 16 + 8 + 8 + 4;
/// Where the node's identity is, in all versions.
const NODE_AT: usize = 5;

const KIND_MESSAGES: u8 = 0;
const KIND_HEARTBEAT: u8 = 1;

/// Who sent an envelope of any version.
pub(crate) fn sender(payload: &[u8]) -> Option<NodeId> {
    let node = payload.get(NODE_AT..NODE_AT + 16)?;
    let node = node.try_into().expect("sixteen bytes");
    payload.starts_with(&MAGIC).then(|| NodeId::from_bytes(node))
}

/// How many messages there are in an envelope of ours.
pub(crate) fn count(payload: &[u8]) -> u32 {
    let count = payload.get(HEADER_BYTES - 4..HEADER_BYTES);
    count.map_or(0, |mut count| count.get_u32_le())
}

/// The number of the first message in an envelope of ours.
pub(crate) fn first(payload: &[u8]) -> Option<u64> {
    payload.get(HEADER_BYTES - 12..HEADER_BYTES - 4).map(|mut first| first.get_u64_le())
}

/// What every envelope says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopeHeader {
    /// Who sent it.
    pub node: NodeId,
    /// When that node began, in milliseconds since 1970.
    pub epoch: u64,
    /// The number of the first message, or of the next one in a heartbeat.
    pub first: u64,
}

fn put_header(mut out: &mut [u8], kind: u8, header: EnvelopeHeader, count: u32) {
    out.put_slice(&MAGIC);
    out.put_u8(VERSION);
    out.put_u8(kind);
    out.put_slice(header.node.as_bytes());
    out.put_u64_le(header.epoch);
    out.put_u64_le(header.first);
    out.put_u32_le(count);
}

/// Why a payload could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It is no envelope.
    Garbage,
    /// It is one of another version.
    UnknownVersion,
}

/// An envelope that has been checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Who sent it, and the numbers of its messages.
    pub header: EnvelopeHeader,
    /// All that follows.
    pub body: EnvelopeBody<'a>,
}

/// What an envelope says after its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvelopeBody<'a> {
    /// Messages and actions.
    Messages(WireMessages<'a>),
    /// A sign of life.
    Heartbeat(Heartbeat),
}

impl<'a> Envelope<'a> {
    /// Reads a payload, all of it. One that is signed is of an unknown version.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Unreadable> {
        Self::parse_version(VERSION, payload)
    }

    fn parse_version(version: u8, payload: &'a [u8]) -> Result<Self, Unreadable> {
        if payload.len() <= VERSION_AT || !payload.starts_with(&MAGIC) {
            return Err(Unreadable::Garbage);
        }
        if payload[VERSION_AT] != version {
            return Err(Unreadable::UnknownVersion);
        }
        Self::parse_body(payload).ok_or(Unreadable::Garbage)
    }

    fn parse_body(payload: &'a [u8]) -> Option<Self> {
        let (mut fixed, body) = payload.split_at_checked(HEADER_BYTES)?;
        fixed.advance(4);
        let kind = fixed.get_u8();
        let mut node = [0; 16];
        fixed.copy_to_slice(&mut node);
        let (epoch, first) = (fixed.get_u64_le(), fixed.get_u64_le());
        let count = fixed.get_u32_le();
        let header = EnvelopeHeader { node: NodeId::from_bytes(node), epoch, first };
        first.checked_add(count.into())?;
        let body = match kind {
            KIND_MESSAGES => EnvelopeBody::Messages(WireMessages::check(body, count)?),
            KIND_HEARTBEAT if count == 0 => EnvelopeBody::Heartbeat(Heartbeat::parse(body)?),
            _ => return None,
        };
        Some(Self { header, body })
    }
}

fn length(length: usize) -> u32 {
    u32::try_from(length).expect("no message is that large")
}
