//! Questions to a shard. Where the shard is gone, the reply is dropped.

use std::sync::Arc;

use super::{Address, Port};
use crate::engine::command::{Command, Listing, Probe, Reply, Slice};
use crate::engine::link::{ConnKey, Link};
use crate::engine::room_index::Room;

impl<S> Port<S> {
    /// Asks for the rooms of a connection.
    pub fn ask_rooms(&self, conn: ConnKey, reply: Reply<Vec<Arc<Room>>>) {
        self.inbox.take_room();
        self.inbox.push(Command::Rooms(conn, reply));
    }

    /// Asks for the link of a connection.
    pub fn ask_link(&self, conn: ConnKey, reply: Reply<Option<Arc<Link>>>) {
        self.inbox.take_room();
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
        self.inbox.take_room();
        self.inbox.push(Command::List(listing));
    }

    /// Asks to be told when what was published to an address before is out ([`Probe::reply`]); without a
    /// question where nobody here can be meant. Where the shard is gone, the reply is dropped.
    ///
    /// Unlike other questions it takes no space, so that it does not change what it measures. Whoever asks
    /// sees to it that few are on their way.
    pub fn probe(&self, address: Address<'_>, reply: Reply<usize>) {
        match self.resolve(address) {
            Some(audience) => self.inbox.push(Command::Probe(Probe { audience, reply })),
            None if self.is_gone() => {}
            None => reply(0),
        }
    }
}
