//! Questions to a shard. Where the shard is gone, the reply is dropped.

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

    /// Asks for the link of a connection.
    pub fn ask_link(&self, conn: ConnKey, reply: Reply<Option<Arc<Link>>>) {
        self.inbox.take_space();
        self.inbox.push(Command::Link(conn, reply));
    }

    /// Asks for the slice before a place of all connections that are open.
    pub fn ask_conns(&self, before: usize, reply: Reply<Slice>) {
        self.list(Listing { room: None, before, reply });
    }

    /// Asks for the slice before a place of the members of a room; without a question where the room is not
    /// known here.
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
