//! The heartbeat of a node, and its report.
//!
//! The parts follow the flags (1) in this order, each only if its flag is set:
//!
//! ```text
//! report    connections (8) · spread (2) · unlisted_max (4) · count (4) · [room hash (8) · members (4)]…
//! roll call number (8) · count (4) · [channel (2)]…
//! answers   count (4) · [node (16) · number (8)]…
//! ```

use bytes::{Buf, BufMut};

use super::{EnvelopeHeader, HEADER_BYTES, KIND_HEARTBEAT, length, put_header};
use crate::backplane::identity::NodeId;

/// The most rooms in a report. Each takes 12 bytes, so that a report fits into an envelope.
pub(crate) const REPORT_ROOMS_MAX: usize = 16_384;

const FLAG_WANTS_ANSWER: u8 = 1;
const FLAG_LEAVING: u8 = 2;
const FLAG_REPORT: u8 = 4;
const FLAG_ROLL_CALL: u8 = 8;
const FLAG_ANSWERS: u8 = 16;

/// A sign of life. Its header also carries the sequence number that the node has reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// Whether the sender has just joined and asks the other nodes for a heartbeat.
    pub wants_answer: bool,
    /// Whether the sender shuts down and is to be forgotten.
    pub leaving: bool,
    /// The sender's report. Only on the common channel.
    pub report: Option<Report>,
    /// The sender asks which nodes are subscribed again after a break.
    pub roll_call: Option<RollCall>,
    /// The sender's answers to roll calls of other nodes.
    pub answers: Box<[RollCallAnswer]>,
}

/// The connections and rooms of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The number of open connections.
    pub connections: u64,
    /// The number of channels that the node spreads rooms over.
    pub spread: u16,
    /// The most members of a room that is not listed; zero if all rooms are listed.
    pub unlisted_max: u32,
    /// The rooms, sorted by hash.
    pub rooms: Box<[RoomCount]>,
}

/// How many members a room has on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoomCount {
    /// The hash of the room's name.
    pub room_hash: u64,
    /// The members of the room.
    pub members: u32,
}

/// A roll call. It goes out on several channels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RollCall {
    /// The number of the call, at the node that calls.
    pub number: u64,
    /// On the common channel: the numbers of all channels on which this call goes out.
    pub channels: Box<[u16]>,
}

/// The answer to a roll call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollCallAnswer {
    /// The node that called the roll.
    pub caller: NodeId,
    /// The number of the call, at the caller.
    pub number: u64,
}

impl Heartbeat {
    /// Encodes the heartbeat as an envelope.
    pub fn seal(&self, header: EnvelopeHeader) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        put_header(&mut out, KIND_HEARTBEAT, header, 0);
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        out.put_u8(
            flag(self.wants_answer, FLAG_WANTS_ANSWER)
                | flag(self.leaving, FLAG_LEAVING)
                | flag(self.report.is_some(), FLAG_REPORT)
                | flag(self.roll_call.is_some(), FLAG_ROLL_CALL)
                | flag(!self.answers.is_empty(), FLAG_ANSWERS),
        );
        if let Some(report) = &self.report {
            put_report(&mut out, report);
        }
        if let Some(RollCall { number, channels }) = &self.roll_call {
            out.put_u64_le(*number);
            out.put_u32_le(length(channels.len()));
            channels.iter().for_each(|&channel| out.put_u16_le(channel));
        }
        if !self.answers.is_empty() {
            out.put_u32_le(length(self.answers.len()));
            for RollCallAnswer { caller, number } in &self.answers {
                out.put_slice(caller.as_bytes());
                out.put_u64_le(*number);
            }
        }
        out
    }

    pub(super) fn parse(mut body: &[u8]) -> Option<Self> {
        let body = &mut body;
        let flags = body.try_get_u8().ok()?;
        let has = |flag| flags & flag != 0;
        let report = if has(FLAG_REPORT) { Some(parse_report(body)?) } else { None };
        let roll_call = if has(FLAG_ROLL_CALL) { Some(parse_roll_call(body)?) } else { None };
        let answers = if has(FLAG_ANSWERS) { parse_answers(body)? } else { Box::default() };
        body.is_empty().then_some(Self {
            wants_answer: has(FLAG_WANTS_ANSWER),
            leaving: has(FLAG_LEAVING),
            report,
            roll_call,
            answers,
        })
    }
}

fn put_report(out: &mut Vec<u8>, report: &Report) {
    out.put_u64_le(report.connections);
    out.put_u16_le(report.spread);
    out.put_u32_le(report.unlisted_max);
    out.put_u32_le(length(report.rooms.len()));
    for &RoomCount { room_hash, members } in &report.rooms {
        out.put_u64_le(room_hash);
        out.put_u32_le(members);
    }
}

fn parse_report(body: &mut &[u8]) -> Option<Report> {
    let connections = body.try_get_u64_le().ok()?;
    let spread = body.try_get_u16_le().ok()?;
    let unlisted_max = body.try_get_u32_le().ok()?;
    let count = take_count(body, 12)?;
    if count > REPORT_ROOMS_MAX {
        return None;
    }
    let room = |_| RoomCount { room_hash: body.get_u64_le(), members: body.get_u32_le() };
    let rooms = (0..count).map(room).collect();
    Some(Report { connections, spread, unlisted_max, rooms })
}

fn parse_roll_call(body: &mut &[u8]) -> Option<RollCall> {
    let number = body.try_get_u64_le().ok()?;
    let count = take_count(body, 2)?;
    Some(RollCall { number, channels: (0..count).map(|_| body.get_u16_le()).collect() })
}

fn parse_answers(body: &mut &[u8]) -> Option<Box<[RollCallAnswer]>> {
    let count = take_count(body, 16 + 8)?;
    let answer = |_| {
        let mut node = [0; 16];
        body.copy_to_slice(&mut node);
        RollCallAnswer { caller: NodeId::from_bytes(node), number: body.get_u64_le() }
    };
    Some((0..count).map(answer).collect())
}

/// Reads the number of items that follow, each of `item_bytes` bytes. Returns `None` if they are
/// not all there, so that nothing is allocated for a false number.
fn take_count(body: &mut &[u8], item_bytes: usize) -> Option<usize> {
    let count = body.try_get_u32_le().ok()? as usize;
    (body.len() / item_bytes >= count).then_some(count)
}
