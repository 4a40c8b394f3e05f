//! Joins and leaves of one connection.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::Port;
use crate::engine::command::{Command, Delivery, Leave};
use crate::engine::link::Link;
use crate::engine::room::Room;
use crate::engine::room_index::NoMoreRooms;

/// A connection could not join a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The connection is closed, or is closing.
    #[error("connection closed")]
    Closed,
    /// The name is too long.
    #[error("room name too long: {bytes} of at most {bytes_max} bytes")]
    NameTooLong {
        /// Its bytes.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The connection is in as many rooms as it may be.
    #[error("too many rooms: a connection is in at most {rooms_max}")]
    TooManyRooms {
        /// The bound.
        rooms_max: u32,
    },
    /// The hub has as many rooms as it may have, and this is none of them.
    #[error("no more rooms: the hub has at most {rooms_max}")]
    NoMoreRooms {
        /// The bound.
        rooms_max: usize,
    },
    /// The inbox of the connection's shard is full; try again later.
    #[error("shard overloaded")]
    Overloaded,
}

/// The name of a room has more bytes than it may have.
pub(super) struct NameTooLong {
    pub(super) bytes: usize,
    pub(super) bytes_max: usize,
}

impl From<NameTooLong> for JoinError {
    fn from(NameTooLong { bytes, bytes_max }: NameTooLong) -> Self {
        Self::NameTooLong { bytes, bytes_max }
    }
}

/// A connection could not leave a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaveError {
    /// The inbox of the connection's shard is full; try again later.
    #[error("shard overloaded")]
    Overloaded,
}

impl<S> Port<S> {
    /// Whether a new connection may be in all these rooms, as far as its own limits go.
    pub fn check_rooms(&self, names: &BTreeSet<Box<str>>) -> Result<(), JoinError> {
        let rooms_max = self.rooms_per_conn();
        if names.len() > rooms_max as usize {
            return Err(JoinError::TooManyRooms { rooms_max });
        }
        names.iter().try_for_each(|name| Ok(self.check_room_name(name)?))
    }

    /// Whether a room may have this name.
    pub(super) fn check_room_name(&self, name: &str) -> Result<(), NameTooLong> {
        let (bytes, bytes_max) = (name.len(), self.room_limits.name_bytes);
        if bytes > bytes_max { Err(NameTooLong { bytes, bytes_max }) } else { Ok(()) }
    }

    /// Puts the connection into the room, making the room if need be.
    ///
    /// A publish that follows, by this thread or one that it tells, reaches the connection.
    pub fn join(&self, link: &Link, name: &str) -> Result<(), JoinError> {
        let room = self.admit(link, name)?;
        self.push_join(link, room)
    }

    /// [`join`](Self::join), and sends the connection `first`, whole frames, before all that is published to
    /// the room after this call. Both happen or neither. With `bytes_max`, it is also refused where more than
    /// that would wait for the client, unless nothing else does.
    pub fn join_with(
        &self,
        link: &Arc<Link>,
        name: &str,
        first: Bytes,
        bytes_max: Option<usize>,
    ) -> Result<(), JoinError> {
        let bytes = first.len();
        if bytes == 0 {
            return self.join(link, name);
        }
        if !link.reserve_waiting(bytes, bytes_max) {
            return Err(JoinError::Overloaded);
        }
        // Where it is dropped, its bytes wait no longer.
        let delivery = Delivery::reserved(first, link.clone(), None);
        if self.inbox.reserve(bytes).is_err() {
            self.counters.refused.add(1);
            return Err(JoinError::Overloaded);
        }
        let room = self.admit(link, name).inspect_err(|_| self.inbox.give_back(1, bytes))?;
        // Before the join: a message to the room that comes between the two is not for this connection.
        self.inbox.push(Command::Deliver(delivery));
        self.push_join(link, room)
    }

    /// Claims the room for a connection, with space in the inbox for its join.
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
            self.counters.refused.add(1);
            return Err(JoinError::Overloaded);
        }
        self.rooms.claim(name).map_err(|NoMoreRooms { rooms_max }| {
            self.inbox.give_back(1, 0);
            link.release_membership();
            self.counters.refused_rooms.add(1);
            JoinError::NoMoreRooms { rooms_max }
        })
    }

    fn push_join(&self, link: &Link, room: Arc<Room>) -> Result<(), JoinError> {
        self.inbox.push(Command::Join(link.id(), room));
        if self.inbox.is_closed() {
            // The shard may have cleared them before this one was there.
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
            self.counters.refused.add(1);
            return Err(LeaveError::Overloaded);
        }
        // Who has no membership left to give up is not in the room.
        let is_counted = link.start_leaving();
        if is_counted {
            room.start_leaving();
        }
        self.inbox.push(Command::Leave(Leave { conn: link.id(), room, is_counted }));
        Ok(())
    }
}
