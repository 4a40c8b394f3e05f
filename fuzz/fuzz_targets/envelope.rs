//! Whatever a stranger publishes on the channel: it is read or refused, and what was read means the
//! same when it is written again. Whatever a node publishes is read as it was meant.
//!
//! ```text
//! input = 0 · a payload | 1 · a payload without its magic | 2 · what an envelope is made of
//! ```
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use roomcast::FrameKind;
use roomcast::internals::{
    Carried, CarriedContent, CarriedHeader, CarriedId, CarriedMessage, CarriedReport,
    CarriedTarget, read, write,
};

fuzz_target!(|input: &[u8]| {
    let Some((&mode, rest)) = input.split_first() else { return };
    match mode % 3 {
        0 => check_payload(rest),
        // Few inputs would begin as an envelope does by chance.
        1 => check_payload(&[b"RCE\x02", rest].concat()),
        _ => {
            if let Ok((header, made_up)) = Unstructured::new(rest).arbitrary::<(_, MadeUp)>() {
                check_envelope(header, made_up.into());
            }
        }
    }
});

fn check_payload(payload: &[u8]) {
    let Some((header, carried)) = read(payload) else { return };
    let written = write(header, &carried);
    assert!(written.len() <= payload.len(), "the shortest form is written");
    assert_eq!(read(&written), Some((header, carried)));
}

fn check_envelope((node, epoch, first): CarriedHeader, carried: Carried) {
    let written = write((node, epoch, first), &carried);
    let numbers = match &carried {
        Carried::Messages(messages) => messages.len() as u64,
        Carried::Heartbeat { .. } => 0,
    };
    if first.checked_add(numbers).is_none() {
        return assert_eq!(read(&written), None, "numbers past the last one");
    }
    assert_eq!(read(&written), Some(((node, epoch, first), carried)));
    for cut in [0, 3, 4, written.len() / 2, written.len() - 1] {
        assert_eq!(read(&written[..cut]), None, "cut at {cut}");
    }
    assert_eq!(read(&[&written[..], &[0]].concat()), None, "one byte more");
}

/// As [`Carried`], but drawn from bytes.
#[derive(Debug, Arbitrary)]
enum MadeUp {
    Messages(Vec<(MadeUpTarget, Vec<CarriedId>, MadeUpContent)>),
    Heartbeat(bool, bool, Option<CarriedReport>, Option<(u64, Vec<u16>)>, Vec<([u8; 16], u64)>),
}

#[derive(Debug, Arbitrary)]
enum MadeUpTarget {
    Everyone,
    Room(String),
    Rooms(Vec<String>),
    Conn(CarriedId),
}

#[derive(Debug, Arbitrary)]
enum MadeUpContent {
    Payload(bool, Vec<u8>),
    /// A code that may be sent, by its place among them.
    Close(u16, String),
    Join(String),
    Leave(String),
}

impl From<MadeUpContent> for CarriedContent {
    fn from(made_up: MadeUpContent) -> Self {
        match made_up {
            MadeUpContent::Payload(is_text, payload) => {
                let kind = if is_text { FrameKind::Text } else { FrameKind::Binary };
                Self::Payload(kind, payload)
            }
            MadeUpContent::Close(place, mut reason) => {
                reason.truncate(reason.floor_char_boundary(123));
                Self::Close(3_000 + place % 2_000, reason)
            }
            MadeUpContent::Join(room) => Self::Join(room),
            MadeUpContent::Leave(room) => Self::Leave(room),
        }
    }
}

impl From<MadeUp> for Carried {
    fn from(made_up: MadeUp) -> Self {
        match made_up {
            MadeUp::Messages(messages) => {
                let messages = messages.into_iter().map(|(target, except, content)| {
                    CarriedMessage { target: target.into(), except, content: content.into() }
                });
                Self::Messages(messages.collect())
            }
            MadeUp::Heartbeat(wants_answer, leaving, report, roll_call, answers) => {
                Self::Heartbeat { wants_answer, leaving, report, roll_call, answers }
            }
        }
    }
}

impl From<MadeUpTarget> for CarriedTarget {
    fn from(made_up: MadeUpTarget) -> Self {
        match made_up {
            MadeUpTarget::Everyone => Self::Everyone,
            MadeUpTarget::Room(room) => Self::Room(room),
            MadeUpTarget::Rooms(rooms) => Self::Rooms(rooms),
            MadeUpTarget::Conn(id) => Self::Conn(id),
        }
    }
}
