//! The wire format between nodes: an envelope carries many messages, or a heartbeat, in one
//! payload.
//!
//! All numbers are little-endian; the number in parentheses is a size in bytes. An envelope is a
//! header and a body:
//!
//! ```text
//! magic "RCE" · version (1) · kind (1) · node (16) · epoch (8) · first (8) · count (4)
//! ```
//!
//! - `node` is the sender.
//! - `epoch` is the time at which the sender began, in milliseconds since 1970. If an identity were
//!   ever used twice, the later epoch would count.
//! - `first` is the sequence number of the first message. A node numbers its messages on each
//!   channel, from zero. In a heartbeat, `first` is the number of the next message.
//! - `count` is the number of messages. A heartbeat has zero.
//!
//! The body of kind 0 is messages. Each is:
//!
//! ```text
//! flags (1) · target · [excepted: count (4), (node (16) · key (8))…] · length (4) · payload
//! ```
//!
//! - The flags say text or binary, whether connections are excepted, the kind of target, the verb,
//!   and whether the message must stay uncompressed.
//! - A target is empty (everyone), a name (a room), a count (4) and names (rooms), or node (16) and
//!   key (8) (a connection). A name is a length (4) and UTF-8.
//! - The verb says how to read the payload. Message (0): the bytes for clients. Close (1): the code
//!   (2) and the reason. Join (2) and leave (3): the name of the room. Only a message may have the
//!   flags for binary and for uncompressed.
//!
//! The body of kind 1 is a [`Heartbeat`].
//!
//! With a key, the high bit of the version is set, and a signature follows the body. It covers
//! everything before it and the name of the channel: see [`Signing`].
//!
//! Reading never panics, whatever the input. Messages borrow from the payload without an
//! allocation. A heartbeat allocates, but only for items that are in the payload.

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
/// The position of the version, in all versions.
const VERSION_AT: usize = 3;
/// The bit of the version that marks a signed envelope.
const SIGNED: u8 = 0x80;
const HEADER_BYTES: usize = 3 + 1 + 1 + 16 + 8 + 8 + 4;
/// The position of the sender's identity, in all versions.
const NODE_AT: usize = 5;

const KIND_MESSAGES: u8 = 0;
const KIND_HEARTBEAT: u8 = 1;

/// The sender of an envelope of any version.
pub(crate) fn sender(payload: &[u8]) -> Option<NodeId> {
    let node = payload.get(NODE_AT..NODE_AT + 16)?;
    let node = node.try_into().expect("the slice has sixteen bytes");
    payload.starts_with(&MAGIC).then(|| NodeId::from_bytes(node))
}

/// The number of messages in an envelope of this node; zero for a heartbeat.
pub(crate) fn count(payload: &[u8]) -> u32 {
    let count = payload.get(HEADER_BYTES - 4..HEADER_BYTES);
    count.map_or(0, |mut count| count.get_u32_le())
}

/// The sequence number of the first message in an envelope of this node.
pub(crate) fn first(payload: &[u8]) -> Option<u64> {
    payload.get(HEADER_BYTES - 12..HEADER_BYTES - 4).map(|mut first| first.get_u64_le())
}

/// The header of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopeHeader {
    /// The sender.
    pub node: NodeId,
    /// The time at which the sender began, in milliseconds since 1970.
    pub epoch: u64,
    /// The sequence number of the first message; in a heartbeat, of the next message.
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

/// The reason why a payload cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not an envelope.
    Garbage,
    /// It is an envelope of another version.
    UnknownVersion,
}

/// An envelope that has been validated.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The sender and the sequence numbers.
    pub header: EnvelopeHeader,
    /// The messages, or the heartbeat.
    pub body: EnvelopeBody<'a>,
}

/// The body of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvelopeBody<'a> {
    /// Messages and actions.
    Messages(WireMessages<'a>),
    /// A sign of life.
    Heartbeat(Heartbeat),
}

impl<'a> Envelope<'a> {
    /// Parses and validates a payload as a whole. A signed envelope counts as an unknown version
    /// here.
    ///
    /// # Errors
    /// The reason why it cannot be read.
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
    u32::try_from(length).expect("messages and names are shorter than 4 GiB")
}
