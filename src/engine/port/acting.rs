//! Actions on the connections of a target: they end, enter a room or leave it.
//!
//! An action goes the way of a message: one command enters the inbox of each shard that has somebody to
//! act on, and all shards take it or none. A room that is to be entered is claimed in each of those
//! shards before the first command is pushed, so that whoever knows of the action finds the room.

use std::sync::Arc;

use super::membership::NameTooLong;
use super::publishing::{Pace, concerned};
use super::{Address, Port};
use crate::engine::close::{Close, CloseCode};
use crate::engine::command::{Act, Audience, Change, Command, Except};
use crate::engine::inbox::Overloaded;
use crate::engine::link::ConnKey;
use crate::engine::room_index::NoMoreRooms;

/// What happens to the connections of a target, with the names not yet looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// They are closed, after what was sent to them before.
    Close {
        /// The code that clients are told.
        code: CloseCode,
        /// The reason that clients are told.
        reason: &'a str,
    },
    /// They enter the room of this name.
    Join(&'a str),
    /// They leave the room of this name.
    Leave(&'a str),
}

/// Connections were not closed, or not moved in or out of a room. Nothing has happened to any of them, on
/// no node.
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
        /// Its bytes.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The hub has as many rooms as it may have, and this is none of them.
    #[error("no more rooms: the hub has at most {rooms_max}")]
    NoMoreRooms {
        /// The bound.
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

/// Has `action` happen to the connections of an address: in all shards that have some, or in none if an inbox
/// is full.
///
/// What is published before it does not see the change, and what is published after it does.
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
    // Before anything is reserved: giving space back wakes other waiters, and they would wake this one, for ever.
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

/// Reserves space in all inboxes or in none.
fn reserve<S>(meant: &[(&Arc<Port<S>>, Audience)]) -> Result<(), Overloaded> {
    for (at, (port, _)) in meant.iter().enumerate() {
        if port.inbox.reserve(0).is_err() {
            port.counters.refused.add(1);
            meant[..at].iter().for_each(|(port, _)| port.inbox.give_back(1, 0));
            return Err(Overloaded);
        }
    }
    Ok(())
}

/// Makes the change of each port, or gives back what was reserved and claimed.
fn prepare<S>(
    meant: &[(&Arc<Port<S>>, Audience)],
    action: Action<'_>,
) -> Result<Vec<Option<Change>>, NoMoreRooms> {
    let mut changes = Vec::with_capacity(meant.len());
    for (at, (port, _)) in meant.iter().enumerate() {
        match port.change(action) {
            Ok(change) => changes.push(change),
            Err(no_more) => {
                port.counters.refused_rooms.add(1);
                meant[at..].iter().for_each(|(port, _)| port.inbox.give_back(1, 0));
                // Only the shard can take back a claim.
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
    /// Whether the action may change anything here. A join that reaches nobody would create an empty
    /// room, and the backplane would be told of it.
    fn is_concerned_by(&self, action: Action<'_>) -> bool {
        match action {
            Action::Close { .. } => true,
            Action::Join(_) => self.counters.connections.get() > 0,
            Action::Leave(name) => self.rooms.find(name).is_some(),
        }
    }

    /// The change in this shard; none where a room to leave is not there any more.
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
            // The shard may have cleared its rooms before this claim made one.
            self.rooms.clear();
        }
    }
}
