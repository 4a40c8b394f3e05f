//! The heartbeat of a node, and what it reports.

use bytes::{Buf, BufMut};

use super::{HEADER_BYTES, Header, KIND_HEARTBEAT, length, put_header};

/// The rooms of a report: 12 bytes each, so that a report fits into an envelope.
pub(crate) const REPORT_ROOMS_MAX: usize = 16_384;

const FLAG_WANTS_ANSWER: u8 = 1;
const FLAG_LEAVING: u8 = 2;
const FLAG_REPORT: u8 = 4;

/// A sign of life, which also tells how far its node has counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Heartbeat {
    /// The sender has just come: others may show themselves.
    pub(crate) wants_answer: bool,
    /// The sender goes, and is to be forgotten.
    pub(crate) leaving: bool,
    /// On the common channel, what the sender has.
    pub(crate) report: Option<Report>,
}

/// What a node has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Report {
    pub(crate) connections: u64,
    /// Over how many channels it spreads rooms.
    pub(crate) spread: u16,
    /// The most members that a room can have which is not listed; zero where all are.
    pub(crate) unlisted_max: u32,
    /// Rooms by hash, sorted, with their members.
    pub(crate) rooms: Box<[(u64, u32)]>,
}

impl Heartbeat {
    /// The envelope.
    pub(crate) fn seal(&self, header: Header) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        put_header(&mut out, KIND_HEARTBEAT, header, 0);
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        out.put_u8(
            flag(self.wants_answer, FLAG_WANTS_ANSWER)
                | flag(self.leaving, FLAG_LEAVING)
                | flag(self.report.is_some(), FLAG_REPORT),
        );
        if let Some(report) = &self.report {
            out.put_u64_le(report.connections);
            out.put_u16_le(report.spread);
            out.put_u32_le(report.unlisted_max);
            out.put_u32_le(length(report.rooms.len()));
            for &(hash, members) in &report.rooms {
                out.put_u64_le(hash);
                out.put_u32_le(members);
            }
        }
        out
    }

    pub(super) fn parse(mut body: &[u8]) -> Option<Self> {
        let flags = body.try_get_u8().ok()?;
        let report = if flags & FLAG_REPORT == 0 { None } else { Some(parse_report(&mut body)?) };
        body.is_empty().then_some(Self {
            wants_answer: flags & FLAG_WANTS_ANSWER != 0,
            leaving: flags & FLAG_LEAVING != 0,
            report,
        })
    }
}

fn parse_report(body: &mut &[u8]) -> Option<Report> {
    let connections = body.try_get_u64_le().ok()?;
    let spread = body.try_get_u16_le().ok()?;
    let unlisted_max = body.try_get_u32_le().ok()?;
    let count = body.try_get_u32_le().ok()? as usize;
    // Checked before anything is allocated for them.
    if count > REPORT_ROOMS_MAX || body.len() != count * 12 {
        return None;
    }
    let rooms = (0..count).map(|_| (body.get_u64_le(), body.get_u32_le())).collect();
    Some(Report { connections, spread, unlisted_max, rooms })
}
