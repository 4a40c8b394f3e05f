//! What an envelope carries, as values that can be made up and compared.

use bytes::Bytes;

use crate::backplane::envelope::{
    Body, Content, Envelope, Header, Heartbeat, Message, Packer, Report, RollCall, Target,
    encode_action, encode_message,
};
use crate::backplane::{ConnId, NodeId};
use crate::engine::{Action, Address, CloseCode, ConnKey, FrameKind, frame};

/// A connection: its node and its key there.
pub type CarriedId = ([u8; 16], u64);

/// The node, its epoch, and the number of the first message.
pub type CarriedHeader = ([u8; 16], u64, u64);

/// Connections, spread, the most members of a room that is not listed, and the rooms.
pub type CarriedReport = (u64, u16, u32, Vec<(u64, u32)>);

/// What an envelope says after its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// Messages.
    Messages(Vec<CarriedMessage>),
    /// A sign of life.
    Heartbeat {
        /// Whether the others are to answer.
        wants_answer: bool,
        /// Whether the node goes.
        leaving: bool,
        /// What the node has.
        report: Option<CarriedReport>,
        /// A roll call: its number and channels.
        roll_call: Option<(u64, Vec<u16>)>,
        /// The calls that are answered: who has called, and the number.
        answers: Vec<([u8; 16], u64)>,
    },
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedMessage {
    /// Whom it is for.
    pub target: CarriedTarget,
    /// Whom it passes by.
    pub except: Vec<CarriedId>,
    /// What it brings.
    pub content: CarriedContent,
}

/// What a message brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CarriedContent {
    /// Bytes for clients.
    Payload(FrameKind, Vec<u8>),
    /// The end of connections: code and reason.
    Close(u16, String),
    /// The way into a room.
    Join(String),
    /// The way out of a room.
    Leave(String),
}

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CarriedTarget {
    /// All connections.
    Everyone,
    /// The members of a room.
    Room(String),
    /// The members of several rooms.
    Rooms(Vec<String>),
    /// One connection.
    Conn(CarriedId),
}

/// Writes an envelope.
pub fn write((node, epoch, first): CarriedHeader, carried: &Carried) -> Bytes {
    let header = Header { node: NodeId::from_bytes(node), epoch, first };
    match carried {
        Carried::Messages(messages) => {
            let mut packer = Packer::new();
            messages.iter().for_each(|message| packer.push(&encode(message)));
            packer.seal(header).into()
        }
        Carried::Heartbeat { wants_answer, leaving, report, roll_call, answers } => {
            let report = report.clone().map(|(connections, spread, unlisted_max, rooms)| Report {
                connections,
                spread,
                unlisted_max,
                rooms: rooms.into(),
            });
            let roll_call = roll_call
                .clone()
                .map(|(number, channels)| RollCall { number, channels: channels.into() });
            let answers = answers.iter().map(|&(node, call)| (NodeId::from_bytes(node), call));
            let (wants_answer, leaving, answers) = (*wants_answer, *leaving, answers.collect());
            Heartbeat { wants_answer, leaving, report, roll_call, answers }.seal(header).into()
        }
    }
}

/// Reads an envelope; `None` where it is none.
pub fn read(payload: &[u8]) -> Option<(CarriedHeader, Carried)> {
    let Envelope { header: Header { node, epoch, first }, body } = Envelope::parse(payload).ok()?;
    let carried = match body {
        Body::Messages(messages) => Carried::Messages(messages.map(carried_message).collect()),
        Body::Heartbeat(Heartbeat { wants_answer, leaving, report, roll_call, answers }) => {
            Carried::Heartbeat {
                wants_answer,
                leaving,
                roll_call: roll_call.map(|call| (call.number, call.channels.into_vec())),
                answers: answers.iter().map(|(node, call)| (*node.as_bytes(), *call)).collect(),
                report: report.map(|Report { connections, spread, unlisted_max, rooms }| {
                    (connections, spread, unlisted_max, rooms.into_vec())
                }),
            }
        }
    };
    Some(((*node.as_bytes(), epoch, first), carried))
}

fn encode(message: &CarriedMessage) -> Vec<u8> {
    let address = match &message.target {
        CarriedTarget::Everyone => Address::Everyone,
        CarriedTarget::Room(room) => Address::Room(room),
        CarriedTarget::Rooms(rooms) => Address::Rooms(rooms),
        CarriedTarget::Conn(id) => Address::Conn(conn_id(*id)),
    };
    let except = message.except.iter().copied().map(conn_id);
    let action = match &message.content {
        CarriedContent::Payload(kind, payload) => {
            return encode_message(address, except, &frame::encode(*kind, payload));
        }
        CarriedContent::Close(code, reason) => {
            Action::Close { code: CloseCode::from(*code), reason }
        }
        CarriedContent::Join(room) => Action::Join(room),
        CarriedContent::Leave(room) => Action::Leave(room),
    };
    encode_action(address, except, action)
}

fn carried_message(message: Message<'_>) -> CarriedMessage {
    CarriedMessage {
        target: match message.target {
            Target::Everyone => CarriedTarget::Everyone,
            Target::Room(room) => CarriedTarget::Room(room.to_owned()),
            Target::Rooms(names) => CarriedTarget::Rooms(names.map(str::to_owned).collect()),
            Target::Conn(id) => CarriedTarget::Conn(carried_id(id)),
        },
        except: message.except.map(carried_id).collect(),
        content: match message.content {
            Content::Payload(kind, payload) => CarriedContent::Payload(kind, payload.to_vec()),
            Content::Action(Action::Close { code, reason }) => {
                CarriedContent::Close(code.into(), reason.to_owned())
            }
            Content::Action(Action::Join(room)) => CarriedContent::Join(room.to_owned()),
            Content::Action(Action::Leave(room)) => CarriedContent::Leave(room.to_owned()),
        },
    }
}

fn conn_id((node, key): CarriedId) -> ConnId {
    ConnId::new(NodeId::from_bytes(node), ConnKey::from_u64(key))
}

fn carried_id(id: ConnId) -> CarriedId {
    (*id.node().as_bytes(), id.key().as_u64())
}
