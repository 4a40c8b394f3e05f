//! The parser of envelopes reads or refuses any payload; an envelope that it reads keeps its meaning when it is written
//! again. It reads each envelope of a node as the node meant it.
//!
//! ```text
//! input = 0 · a payload | 1 · a payload without its magic bytes | 2 · the data of an envelope
//! ```
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use roomcast::engine::Action;
use roomcast::internals::{
    Envelope, EnvelopeBody, EnvelopeHeader, Heartbeat, MessageContent, Packer, Report, RollCall,
    RollCallAnswer, RoomCount, To, Unreadable, WireMessage, encode,
};
use roomcast::{CloseCode, ConnId, FrameKind, NodeId};

fuzz_target!(|input: &[u8]| {
    let Some((&mode, rest)) = input.split_first() else { return };
    match mode % 3 {
        0 => check_payload(rest),
        // Random inputs seldom begin with the magic bytes.
        1 => check_payload(&[b"RCE\x02", rest].concat()),
        _ => {
            let drawn = Unstructured::new(rest).arbitrary::<(([u8; 16], u64, u64), MadeUp)>();
            if let Ok(((node, epoch, first), made_up)) = drawn {
                check_envelope(EnvelopeHeader { node: node_id(node), epoch, first }, &made_up);
            }
        }
    }
});

fn check_payload(payload: &[u8]) {
    let Ok(Envelope { header, body }) = Envelope::parse(payload) else { return };
    let written = match &body {
        EnvelopeBody::Messages(messages) => {
            pack(header, messages.clone().map(|message| rewrite(&message)))
        }
        EnvelopeBody::Heartbeat(heartbeat) => heartbeat.seal(header),
    };
    assert!(written.len() <= payload.len(), "the shortest form is written");
    let again = Envelope::parse(&written).expect("a rewritten envelope is readable");
    assert_eq!(again.header, header);
    match (again.body, body) {
        (EnvelopeBody::Messages(again), EnvelopeBody::Messages(messages)) => {
            assert!(again.eq(messages))
        }
        (again, body) => assert_eq!(again, body),
    }
}

fn rewrite(message: &WireMessage<'_>) -> Vec<u8> {
    encode(To::from(message.target.clone()).address(), message.except.clone(), message.content)
}

fn pack(header: EnvelopeHeader, messages: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut packer = Packer::default();
    messages.for_each(|message| packer.push(&message));
    packer.seal(header)
}

fn check_envelope(header: EnvelopeHeader, made_up: &MadeUp) {
    let (written, numbers) = match made_up {
        MadeUp::Messages(messages) => {
            (pack(header, messages.iter().map(MadeUpMessage::write)), messages.len() as u64)
        }
        MadeUp::Heartbeat(made_up) => (made_up.heartbeat().seal(header), 0),
    };
    if header.first.checked_add(numbers).is_none() {
        let read = Envelope::parse(&written);
        return assert_eq!(read, Err(Unreadable::Garbage), "message numbers overflow");
    }
    let read = Envelope::parse(&written).expect("an envelope of a node is readable");
    assert_eq!(read.header, header);
    match (read.body, made_up) {
        (EnvelopeBody::Messages(read), MadeUp::Messages(made_up)) => assert!(read.eq(made_up)),
        (EnvelopeBody::Heartbeat(read), MadeUp::Heartbeat(made_up)) => {
            assert_eq!(read, made_up.heartbeat());
        }
        (read, _) => panic!("{made_up:?} was read as {read:?}"),
    }
    for cut in [0, 3, 4, written.len() / 2, written.len() - 1] {
        assert!(Envelope::parse(&written[..cut]).is_err(), "cut at {cut}");
    }
    assert!(Envelope::parse(&[&written[..], &[0]].concat()).is_err(), "one byte more");
}

type Id = ([u8; 16], u64);

fn conn_id((node, key): Id) -> ConnId {
    let text = format!("{:032x}-{key:x}", u128::from_be_bytes(node));
    text.parse().expect("the text is a valid connection id")
}

fn node_id(node: [u8; 16]) -> NodeId {
    conn_id((node, 0)).node()
}

/// The content of a node's envelope, drawn from the input.
#[derive(Debug, Arbitrary)]
enum MadeUp {
    Messages(Vec<MadeUpMessage>),
    Heartbeat(MadeUpHeartbeat),
}

#[derive(Debug, Arbitrary)]
struct MadeUpMessage {
    target: MadeUpTarget,
    except: Vec<Id>,
    content: MadeUpContent,
}

#[derive(Debug, Arbitrary)]
enum MadeUpTarget {
    Everyone,
    Room(String),
    Rooms(Vec<String>),
    Conn(Id),
}

#[derive(Debug, Arbitrary)]
enum MadeUpContent {
    /// Whether it is text, the bytes, and whether they may be compressed.
    Payload(bool, Vec<u8>, bool),
    /// The index of an application's close code, from 3000 to 4999, and the reason.
    Close(u16, String),
    Join(String),
    Leave(String),
}

#[derive(Debug, Arbitrary)]
struct MadeUpHeartbeat {
    wants_answer: bool,
    leaving: bool,
    report: Option<(u64, u16, u32, Vec<(u64, u32)>)>,
    roll_call: Option<(u64, Vec<u16>)>,
    answers: Vec<([u8; 16], u64)>,
}

impl MadeUpMessage {
    fn write(&self) -> Vec<u8> {
        encode(self.target().address(), self.except(), self.content())
    }

    fn target(&self) -> To<'_> {
        match &self.target {
            MadeUpTarget::Everyone => To::Everyone,
            MadeUpTarget::Room(room) => To::Room(room.into()),
            MadeUpTarget::Rooms(rooms) => To::Rooms(rooms.iter().map(Into::into).collect()),
            MadeUpTarget::Conn(id) => To::Conn(conn_id(*id)),
        }
    }

    fn except(&self) -> impl Iterator<Item = ConnId> + Clone {
        self.except.iter().copied().map(conn_id)
    }

    fn content(&self) -> MessageContent<'_> {
        match &self.content {
            MadeUpContent::Payload(is_text, payload, is_compressible) => {
                let kind = if *is_text { FrameKind::Text } else { FrameKind::Binary };
                MessageContent::Payload { kind, payload, is_compressible: *is_compressible }
            }
            MadeUpContent::Close(place, reason) => {
                let code = CloseCode::from(3_000 + place % 2_000);
                let reason = &reason[..reason.floor_char_boundary(123)];
                MessageContent::Action(Action::Close { code, reason })
            }
            MadeUpContent::Join(room) => MessageContent::Action(Action::Join(room)),
            MadeUpContent::Leave(room) => MessageContent::Action(Action::Leave(room)),
        }
    }
}

impl PartialEq<&MadeUpMessage> for WireMessage<'_> {
    fn eq(&self, made_up: &&MadeUpMessage) -> bool {
        To::from(self.target.clone()) == made_up.target()
            && self.except.clone().eq(made_up.except())
            && self.content == made_up.content()
    }
}

impl MadeUpHeartbeat {
    fn heartbeat(&self) -> Heartbeat {
        let report = self.report.as_ref().map(|(connections, spread, unlisted_max, rooms)| {
            let (connections, spread, unlisted_max) = (*connections, *spread, *unlisted_max);
            let count = |&(room_hash, members): &_| RoomCount { room_hash, members };
            let rooms = rooms.iter().map(count).collect();
            Report { connections, spread, unlisted_max, rooms }
        });
        let roll_call = self.roll_call.as_ref();
        let roll_call = roll_call.map(|(number, channels)| RollCall {
            number: *number,
            channels: channels.as_slice().into(),
        });
        let answer = |&(node, number): &_| RollCallAnswer { caller: node_id(node), number };
        let answers = self.answers.iter().map(answer).collect();
        let (wants_answer, leaving) = (self.wants_answer, self.leaving);
        Heartbeat { wants_answer, leaving, report, roll_call, answers }
    }
}
