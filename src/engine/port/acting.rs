//! Actions on the connections of a target: they are closed, join a room or leave it.
//!
//! An action takes the same way as a message: one command enters the inbox of each shard that has
//! connections to act on, and either all these shards take the command or none does. A room to join
//! is claimed in each of these shards before the first command is pushed, so that a publish by any
//! thread that knows of the action finds it.
//!
//! The numbers of invariants are those of [`port`](super).

use std::sync::Arc;

use super::membership::NameTooLong;
use super::publishing::{Pace, concerned};
use super::{Address, Port};
use crate::engine::close::{Close, CloseCode};
use crate::engine::command::{Act, Audience, Change, Command, Except};
use crate::engine::inbox::Overloaded;
use crate::engine::link::ConnKey;
use crate::engine::room_index::NoMoreRooms;

/// An action on the connections of a target, with the name of a room that was not looked up yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Close them, after what was sent to them before.
    Close {
        /// The close code for the clients.
        code: CloseCode,
        /// The reason for the clients.
        reason: &'a str,
    },
    /// Put them into the room of this name.
    Join(&'a str),
    /// Take them out of the room of this name.
    Leave(&'a str),
}

/// Why connections were not closed, or not moved into or out of a room. Nothing has changed for any
/// of them, on any node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActionError {
    /// The inbox of a shard is full. Try again later, or use the call that waits.
    #[error("shard overloaded")]
    Overloaded,
    /// The hub is closed.
    #[error("hub closed")]
    Closed,
    /// The name of the room is too long.
    #[error("room name too long: {bytes} of at most {bytes_max} bytes")]
    NameTooLong {
        /// The bytes of the name.
        bytes: usize,
        /// The maximum.
        bytes_max: usize,
    },
    /// The hub has the maximum number of rooms, and a shard with a connection to put in has no
    /// members of this room yet: a room counts once per shard.
    #[error("no more rooms: the hub has at most {rooms_max}")]
    NoMoreRooms {
        /// The maximum.
        rooms_max: usize,
    },
}

impl From<Overloaded> for ActionError {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

impl From<NameTooLong> for ActionError {
    fn from(NameTooLong { bytes, bytes_max }: NameTooLong) -> Self {
        Self::NameTooLong { bytes, bytes_max }
    }
}

impl From<NoMoreRooms> for ActionError {
    fn from(NoMoreRooms { rooms_max }: NoMoreRooms) -> Self {
        Self::NoMoreRooms { rooms_max }
    }
}

/// Acts on the connections of an address: in all shards that have some, or in none if an inbox is
/// full.
///
/// The action takes its place among the publishes: those before it reach the recipients of before,
/// those after it see the change.
pub fn act_at<S>(
    pace: Pace,
    ports: &[Arc<Port<S>>],
    address: Address<'_>,
    except: &[ConnKey],
    action: Action<'_>,
) -> Result<(), ActionError> {
    if let (Action::Join(name), Some(port)) = (action, ports.first()) {
        port.check_room_name(name)?;
    }
    let ports = concerned(ports, address).iter().filter(|port| port.is_concerned_by(action));
    let meant: Vec<(&Arc<Port<S>>, Audience)> =
        ports.filter_map(|port| Some((port, port.resolve(address)?))).collect();
    // Invariant 3.
    if pace == Pace::Patient && meant.iter().any(|(port, _)| port.inbox.is_congested()) {
        return Err(ActionError::Overloaded);
    }
    reserve(&meant)?;
    let changes = prepare(&meant, action)?;
    for ((port, audience), change) in meant.into_iter().zip(changes) {
        match change {
            Some(change) => port.push_act(audience, port.resolve_except(except), change),
            None => port.inbox.give_back(1, 0),
        }
    }
    Ok(())
}

/// Reserves space in all inboxes or in none (invariant 1).
fn reserve<S>(meant: &[(&Arc<Port<S>>, Audience)]) -> Result<(), Overloaded> {
    for (at, (port, _)) in meant.iter().enumerate() {
        if port.inbox.reserve(0).is_err() {
            port.counters.inbox_refusals.add(1);
            meant[..at].iter().for_each(|(port, _)| port.inbox.give_back(1, 0));
            return Err(Overloaded);
        }
    }
    Ok(())
}

/// Makes the change for each port, or gives back all that was reserved and claimed.
fn prepare<S>(
    meant: &[(&Arc<Port<S>>, Audience)],
    action: Action<'_>,
) -> Result<Vec<Option<Change>>, NoMoreRooms> {
    let mut changes = Vec::with_capacity(meant.len());
    for (at, (port, _)) in meant.iter().enumerate() {
        match port.change(action) {
            Ok(change) => changes.push(change),
            Err(no_more) => {
                port.counters.room_refusals.add(1);
                meant[at..].iter().for_each(|(port, _)| port.inbox.give_back(1, 0));
                // Only the shard may take a claim back: a change without an audience makes it do
                // so.
                for ((port, _), change) in meant.iter().zip(changes.into_iter().flatten()) {
                    port.push_act(Audience::nobody(), Except::Nobody, change);
                }
                return Err(no_more);
            }
        }
    }
    Ok(changes)
}

impl<S> Port<S> {
    /// Whether the action may change anything in this shard. A join without connections would only
    /// create an empty room and notify the backplane of it.
    fn is_concerned_by(&self, action: Action<'_>) -> bool {
        match action {
            Action::Close { .. } => true,
            Action::Join(_) => self.counters.connections.get() > 0,
            Action::Leave(name) => self.rooms.find(name).is_some(),
        }
    }

    /// The change in this shard; `None` if the room to leave is gone by now.
    fn change(&self, action: Action<'_>) -> Result<Option<Change>, NoMoreRooms> {
        Ok(match action {
            Action::Close { code, reason } => {
                Some(Change::Close(Close::new(code, reason.to_owned()).into()))
            }
            Action::Join(name) => {
                let room = self.rooms.claim(name)?;
                room.start_leaving();
                Some(Change::Join(room))
            }
            Action::Leave(name) => self.rooms.find(name).map(Change::Leave),
        })
    }

    fn push_act(&self, audience: Audience, except: Except, change: Change) {
        self.inbox.push(Command::Act(Act { audience, except, change }));
        if self.inbox.is_closed() {
            // Invariant 5: the shard may have cleared its rooms before this claim created one.
            self.rooms.clear();
        }
    }
}
