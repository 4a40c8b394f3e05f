//! One message of an envelope, or one action on connections: how a publisher writes it and other
//! nodes read it.

use bytes::{Buf, BufMut};

use super::length;
use crate::backplane::identity::ConnId;
use crate::backplane::identity::NodeId;
use crate::backplane::target::To;
use crate::engine::{
    Action, Address, CLOSE_REASON_BYTES_MAX, CloseCode, ConnKey, FrameKind, Frames, frame,
};

const FLAG_BINARY: u8 = 1;
const FLAG_EXCEPT: u8 = 2;
const TARGET_SHIFT: u8 = 2;
const TARGET_MASK: u8 = 3;
const TARGET_EVERYONE: u8 = 0;
const TARGET_ROOM: u8 = 1;
const TARGET_ROOMS: u8 = 2;
const TARGET_CONN: u8 = 3;
const FLAG_UNCOMPRESSED: u8 = 1 << 7;
const VERB_SHIFT: u8 = 4;
const VERB_MESSAGE: u8 = 0;
const VERB_CLOSE: u8 = 1;
const VERB_JOIN: u8 = 2;
const VERB_LEAVE: u8 = 3;

/// Encodes a message or an action, to be put into an envelope later.
///
/// # Panics
/// If a name or the payload has 4 GiB or more.
pub fn encode(
    address: Address<'_, ConnId>,
    except: impl Iterator<Item = ConnId> + Clone,
    content: MessageContent<'_>,
) -> Vec<u8> {
    let flags = |verb| verb << VERB_SHIFT;
    match content {
        MessageContent::Payload { kind, payload, is_compressible } => {
            let binary = if kind == FrameKind::Binary { FLAG_BINARY } else { 0 };
            let uncompressed = if is_compressible { 0 } else { FLAG_UNCOMPRESSED };
            let flags = binary | uncompressed | flags(VERB_MESSAGE);
            encode_parts(flags, address, except, payload)
        }
        MessageContent::Action(Action::Close { code, reason }) => {
            let payload = [&u16::from(code).to_le_bytes(), reason.as_bytes()].concat();
            encode_parts(flags(VERB_CLOSE), address, except, &payload)
        }
        MessageContent::Action(Action::Join(room)) => {
            encode_parts(flags(VERB_JOIN), address, except, room.as_bytes())
        }
        MessageContent::Action(Action::Leave(room)) => {
            encode_parts(flags(VERB_LEAVE), address, except, room.as_bytes())
        }
    }
}

fn encode_parts(
    flags: u8,
    address: Address<'_, ConnId>,
    except: impl Iterator<Item = ConnId> + Clone,
    payload: &[u8],
) -> Vec<u8> {
    const FIXED: usize = 1 + 4 + 4;
    let excepted = except.clone().count();
    let bytes = FIXED + target_bytes(address) + ConnIds::BYTES * excepted + payload.len();
    let mut out = Vec::with_capacity(bytes);
    out.put_u8(flags | if excepted > 0 { FLAG_EXCEPT } else { 0 });
    let target = put_target(&mut out, address);
    out[0] |= target << TARGET_SHIFT;
    if excepted > 0 {
        out.put_u32_le(length(excepted));
        except.for_each(|id| put_conn(&mut out, id));
    }
    put_bytes(&mut out, payload);
    out
}

fn target_bytes(address: Address<'_, ConnId>) -> usize {
    match address {
        Address::Everyone => 0,
        Address::Room(room) => 4 + room.len(),
        Address::Rooms(rooms) => 4 + rooms.iter().map(|room| 4 + room.len()).sum::<usize>(),
        Address::Conn(_) => ConnIds::BYTES,
    }
}

/// Writes the target, and returns the code for its kind.
fn put_target(out: &mut Vec<u8>, address: Address<'_, ConnId>) -> u8 {
    match address {
        Address::Everyone => TARGET_EVERYONE,
        Address::Room(room) => {
            put_bytes(out, room.as_bytes());
            TARGET_ROOM
        }
        Address::Rooms(rooms) => {
            out.put_u32_le(length(rooms.len()));
            rooms.iter().for_each(|room| put_bytes(out, room.as_bytes()));
            TARGET_ROOMS
        }
        Address::Conn(id) => {
            put_conn(out, id);
            TARGET_CONN
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32_le(length(bytes.len()));
    out.put_slice(bytes);
}

fn put_conn(out: &mut Vec<u8>, id: ConnId) {
    out.put_slice(id.node().as_bytes());
    out.put_u64_le(id.key().as_u64());
}

/// The messages of an envelope, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireMessages<'a> {
    rest: &'a [u8],
    count: u32,
}

impl<'a> WireMessages<'a> {
    /// Validates the body: exactly `count` messages, and nothing after them.
    pub(super) fn check(body: &'a [u8], count: u32) -> Option<Self> {
        let mut rest = body;
        for _ in 0..count {
            WireMessage::parse(&mut rest)?;
        }
        rest.is_empty().then_some(Self { rest: body, count })
    }

    /// The number of messages that are left.
    pub(crate) fn left(&self) -> u32 {
        self.count
    }
}

impl<'a> Iterator for WireMessages<'a> {
    type Item = WireMessage<'a>;

    fn next(&mut self) -> Option<WireMessage<'a>> {
        self.count = self.count.checked_sub(1)?;
        WireMessage::parse(&mut self.rest)
    }
}

/// A message of another node, or an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireMessage<'a> {
    /// The target. [`To`] has the names as a list.
    pub target: Address<'a, ConnId, RoomNames<'a>>,
    /// The connections that are left out.
    pub except: ConnIds<'a>,
    /// The message or the action itself.
    pub content: MessageContent<'a>,
}

/// What a message does at its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageContent<'a> {
    /// Bytes for clients.
    Payload {
        /// The kind of the message.
        kind: FrameKind,
        /// The bytes.
        payload: &'a [u8],
        /// Whether nodes may compress the message for their clients.
        is_compressible: bool,
    },
    /// An action on connections.
    Action(Action<'a>),
}

impl<'a> MessageContent<'a> {
    /// The message in a frame for clients.
    pub(crate) fn framed(frame: &'a Frames) -> Self {
        Self::Payload {
            kind: frame::kind(frame),
            payload: frame::payload(frame),
            is_compressible: frame.is_compressible(),
        }
    }

    fn parse(flags: u8, payload: &'a [u8]) -> Option<Self> {
        let is_binary = flags & FLAG_BINARY != 0;
        let is_compressible = flags & FLAG_UNCOMPRESSED == 0;
        let kind = if is_binary { FrameKind::Binary } else { FrameKind::Text };
        Some(match (flags & !FLAG_UNCOMPRESSED) >> VERB_SHIFT {
            VERB_MESSAGE => Self::Payload { kind, payload, is_compressible },
            _ if is_binary || !is_compressible => return None,
            VERB_CLOSE => Self::Action(parse_close(payload)?),
            VERB_JOIN => Self::Action(Action::Join(str::from_utf8(payload).ok()?)),
            VERB_LEAVE => Self::Action(Action::Leave(str::from_utf8(payload).ok()?)),
            _ => return None,
        })
    }
}

/// Reads a close. A client must be able to receive it: with a code that may be sent, or without
/// code and reason.
fn parse_close(payload: &[u8]) -> Option<Action<'_>> {
    let (code, reason) = payload.split_first_chunk()?;
    let code = CloseCode::from(u16::from_le_bytes(*code));
    let reason = str::from_utf8(reason).ok()?;
    let is_whole = code.is_sendable() && reason.len() <= CLOSE_REASON_BYTES_MAX;
    let is_empty = code == CloseCode::NO_STATUS && reason.is_empty();
    (is_whole || is_empty).then_some(Action::Close { code, reason })
}

impl<'a> From<Address<'a, ConnId, RoomNames<'a>>> for To<'a> {
    fn from(target: Address<'a, ConnId, RoomNames<'a>>) -> Self {
        match target {
            Address::Everyone => Self::Everyone,
            Address::Room(name) => Self::Room(name.into()),
            Address::Rooms(names) => Self::Rooms(names.map(Into::into).collect()),
            Address::Conn(id) => Self::Conn(id),
        }
    }
}

impl<'a> WireMessage<'a> {
    /// The excepted connections that belong to `node`.
    pub(crate) fn excepted_on(&self, node: NodeId) -> Vec<ConnKey> {
        self.except.clone().filter_map(|id| id.key_on(node)).collect()
    }

    fn parse(rest: &mut &'a [u8]) -> Option<Self> {
        let flags = rest.try_get_u8().ok()?;
        let target = match flags >> TARGET_SHIFT & TARGET_MASK {
            TARGET_EVERYONE => Address::Everyone,
            TARGET_ROOM => Address::Room(take_name(rest)?),
            TARGET_ROOMS => Address::Rooms(RoomNames::check(rest)?),
            TARGET_CONN => Address::Conn(take_conn(rest)?),
            _ => return None,
        };
        let except = if flags & FLAG_EXCEPT == 0 { ConnIds(&[]) } else { ConnIds::take(rest)? };
        let content = MessageContent::parse(flags, take_bytes(rest)?)?;
        Some(Self { target, except, content })
    }
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(bytes)?;
    *rest = left;
    Some(taken)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let bytes = rest.try_get_u32_le().ok()?;
    take(rest, bytes as usize)
}

fn take_name<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(rest)?).ok()
}

fn take_conn(rest: &mut &[u8]) -> Option<ConnId> {
    let mut ids = ConnIds(take(rest, ConnIds::BYTES)?);
    ids.next()
}

/// The names of rooms, read in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomNames<'a> {
    rest: &'a [u8],
    count: u32,
}

impl<'a> RoomNames<'a> {
    fn check(rest: &mut &'a [u8]) -> Option<Self> {
        let count = rest.try_get_u32_le().ok()?;
        let names = *rest;
        for _ in 0..count {
            take_name(rest)?;
        }
        Some(Self { rest: &names[..names.len() - rest.len()], count })
    }
}

impl<'a> Iterator for RoomNames<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.count = self.count.checked_sub(1)?;
        take_name(&mut self.rest)
    }
}

/// Identities of connections of any node, read in place.
#[derive(Debug, Clone, Eq)]
pub struct ConnIds<'a>(&'a [u8]);

/// Does not read the bytes if there are none: `memcmp` of empty slices, whose pointers dangle, was
/// a tenth of the cost of receiving (masked loads from an unmapped page, on AVX-512).
impl PartialEq for ConnIds<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && (self.0.is_empty() || self.0 == other.0)
    }
}

impl<'a> ConnIds<'a> {
    const BYTES: usize = 16 + 8;

    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let count = rest.try_get_u32_le().ok()? as usize;
        Some(Self(take(rest, count.checked_mul(Self::BYTES)?)?))
    }
}

impl Iterator for ConnIds<'_> {
    type Item = ConnId;

    fn next(&mut self) -> Option<ConnId> {
        let mut id = take(&mut self.0, Self::BYTES)?;
        let mut node = [0; 16];
        id.copy_to_slice(&mut node);
        Some(ConnId::new(NodeId::from_bytes(node), ConnKey::from_u64(id.get_u64_le())))
    }
}
