//! Questions to a shard. If the shard is gone, the reply is dropped without a call.

use std::sync::Arc;

use super::Port;
use crate::engine::command::{Command, Listing, Reply, Slice};
use crate::engine::link::{ConnKey, Link};
use crate::engine::room::Room;

impl<S> Port<S> {
    /// Asks for the rooms of a connection.
    pub fn ask_rooms(&self, conn: ConnKey, reply: Reply<Vec<Arc<Room>>>) {
        self.inbox.take_space();
        self.inbox.push(Command::Rooms(conn, reply));
    }

    /// Asks for the link of a connection: `None` if it has ended.
    pub fn ask_link(&self, conn: ConnKey, reply: Reply<Option<Arc<Link>>>) {
        self.inbox.take_space();
        self.inbox.push(Command::Link(conn, reply));
    }

    /// Asks for the slice of all open connections that ends before the index `before`.
    pub fn ask_conns(&self, before: usize, reply: Reply<Slice>) {
        self.list(Listing { room: None, before, reply });
    }

    /// Asks for the slice of the members of a room that ends before the index `before`. Replies at
    /// once if this shard does not have the room.
    pub fn ask_members(&self, name: &str, before: usize, reply: Reply<Slice>) {
        match self.rooms.find(name) {
            Some(room) => self.list(Listing { room: Some(room), before, reply }),
            None => reply(Slice::default()),
        }
    }

    fn list(&self, listing: Listing) {
        self.inbox.take_space();
        self.inbox.push(Command::List(listing));
    }
}
