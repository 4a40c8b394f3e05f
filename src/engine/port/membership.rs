//! Joins and leaves of one connection.
//!
//! The numbers of invariants are those of [`port`](super).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Port;
use crate::engine::command::{Command, Delivery, Leave};
use crate::engine::frames::Frames;
use crate::engine::link::Link;
use crate::engine::room::Room;
use crate::engine::room_index::NoMoreRooms;

/// Why a connection could not join a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The connection is closed, or is closing.
    #[error("connection closed")]
    Closed,
    /// The name of the room is too long.
    #[error("room name too long: {bytes} of at most {bytes_max} bytes")]
    NameTooLong {
        /// The bytes of the name.
        bytes: usize,
        /// The maximum.
        bytes_max: usize,
    },
    /// The connection is in the maximum number of rooms.
    #[error("too many rooms: a connection is in at most {rooms_max}")]
    TooManyRooms {
        /// The maximum.
        rooms_max: u32,
    },
    /// The hub has the maximum number of rooms, and the connection's shard has no members of this
    /// room yet: a room counts once per shard.
    #[error("no more rooms: the hub has at most {rooms_max}")]
    NoMoreRooms {
        /// The maximum.
        rooms_max: usize,
    },
    /// The inbox of the connection's shard is full; try again later.
    #[error("shard overloaded")]
    Overloaded,
}

/// The name of a room is longer than the maximum.
pub(super) struct NameTooLong {
    pub(super) bytes: usize,
    pub(super) bytes_max: usize,
}

impl From<NameTooLong> for JoinError {
    fn from(NameTooLong { bytes, bytes_max }: NameTooLong) -> Self {
        Self::NameTooLong { bytes, bytes_max }
    }
}

/// Why a connection could not leave a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaveError {
    /// The inbox of the connection's shard is full; try again later.
    #[error("shard overloaded")]
    Overloaded,
}

impl<S> Port<S> {
    /// Whether a new connection could join all these rooms, as far as the limits of one connection
    /// go.
    pub fn check_rooms(&self, names: &BTreeSet<Box<str>>) -> Result<(), JoinError> {
        let rooms_max = self.rooms_per_conn();
        if names.len() > rooms_max as usize {
            return Err(JoinError::TooManyRooms { rooms_max });
        }
        names.iter().try_for_each(|name| Ok(self.check_room_name(name)?))
    }

    /// Checks the length of a room's name.
    pub(super) fn check_room_name(&self, name: &str) -> Result<(), NameTooLong> {
        let (bytes, bytes_max) = (name.len(), self.room_limits.name_bytes);
        if bytes > bytes_max { Err(NameTooLong { bytes, bytes_max }) } else { Ok(()) }
    }

    /// Puts the connection into the room. Creates the room if need be.
    ///
    /// A publish that follows, by this thread or by a thread that learned of the join from it,
    /// reaches the connection.
    pub fn join(&self, link: &Link, name: &str) -> Result<(), JoinError> {
        let room = self.admit(link, name)?;
        self.push_join(link, room)
    }

    /// Like [`join`](Self::join), and sends the connection `first`, a run of whole frames, before
    /// all that is published to the room after this call. Either both happen or neither does.
    ///
    /// With `bytes_max`, the call is also refused if more than `bytes_max` bytes would wait for the
    /// client. If nothing waits, any size is accepted.
    pub fn join_with(
        &self,
        link: &Arc<Link>,
        name: &str,
        first: Frames,
        bytes_max: Option<usize>,
    ) -> Result<(), JoinError> {
        let bytes = first.len();
        if bytes == 0 {
            return self.join(link, name);
        }
        if !link.reserve_waiting(bytes, bytes_max) {
            return Err(JoinError::Overloaded);
        }
        // From here on, dropping the delivery takes its bytes off what waits for the client.
        let delivery = Delivery::reserved(first, link.clone(), None);
        if self.inbox.reserve(bytes).is_err() {
            self.counters.inbox_refusals.add(1);
            return Err(JoinError::Overloaded);
        }
        let room = self.admit(link, name).inspect_err(|_| self.inbox.give_back(1, bytes))?;
        // Before the join: a message to the room that enters the inbox between the two is not for
        // this connection.
        self.inbox.push(Command::Deliver(delivery));
        self.push_join(link, room)
    }

    /// Reserves space in the inbox for a join and claims the room.
    fn admit(&self, link: &Link, name: &str) -> Result<Arc<Room>, JoinError> {
        let rooms_per_conn = self.rooms_per_conn();
        self.check_room_name(name)?;
        if link.is_closing() {
            return Err(JoinError::Closed);
        }
        if !link.reserve_membership(rooms_per_conn) {
            return Err(JoinError::TooManyRooms { rooms_max: rooms_per_conn });
        }
        if self.inbox.reserve(0).is_err() {
            link.release_membership();
            self.counters.inbox_refusals.add(1);
            return Err(JoinError::Overloaded);
        }
        self.rooms.claim(name).map_err(|NoMoreRooms { rooms_max }| {
            self.inbox.give_back(1, 0);
            link.release_membership();
            self.counters.room_refusals.add(1);
            JoinError::NoMoreRooms { rooms_max }
        })
    }

    fn push_join(&self, link: &Link, room: Arc<Room>) -> Result<(), JoinError> {
        self.inbox.push(Command::Join(link.id(), room));
        if self.inbox.is_closed() {
            // Invariant 5: the shard may have cleared its rooms before this claim created one.
            self.rooms.clear();
            return Err(JoinError::Closed);
        }
        Ok(())
    }

    /// Takes the connection out of the room, if it is in it.
    pub fn leave(&self, link: &Link, name: &str) -> Result<(), LeaveError> {
        let Some(room) = self.rooms.find(name) else {
            return Ok(());
        };
        if self.inbox.reserve(0).is_err() {
            self.counters.inbox_refusals.add(1);
            return Err(LeaveError::Overloaded);
        }
        // If all memberships are used up by earlier leaves, the connection is not in the room.
        let is_counted = link.start_leaving();
        if is_counted {
            room.start_leaving();
        }
        self.inbox.push(Command::Leave(Leave { conn: link.id(), room, is_counted }));
        Ok(())
    }
}
