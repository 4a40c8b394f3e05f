//! The connections and rooms of this node: look-up by id, lists, and counts.

use std::collections::{BTreeSet, HashSet};

use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::{Conn, Hub};
use crate::backplane::ConnId;
use crate::engine::{ConnKey, Port, Reply, Slice};
use crate::net::WriteHalf;
use crate::runtime::shield::shielded;

/// How many room names are copied before other tasks may run: about 0.2 ms of work.
const NAMES_PER_TURN: usize = 1_024;

/// # Listing connections and rooms
/// These calls show only this node; for the other nodes, see [`cluster`](Self::cluster). The calls
/// that return connections or names are `async`: they ask the shards, or let other tasks run
/// between slices. The calls that count read a few numbers, and do not wait.
impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// Returns the connection with this id, if it is open and on this node. Asks the shard, so the
    /// answer reflects all earlier calls of this task.
    ///
    /// A connection of another node has no [`Conn`] here. But [`publish`](Self::publish),
    /// [`close`](Self::close), [`join`](Self::join) and [`leave`](Self::leave) reach it by its id.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    ///
    /// # Examples
    /// ```
    /// use roomcast::{ConnId, Hub};
    ///
    /// async fn address_of(hub: &Hub<String>, id: ConnId) -> String {
    ///     let conn = hub.conn(id).await;
    ///     let addr = conn.and_then(|conn| conn.remote_addr());
    ///     addr.map_or("unknown".to_owned(), |addr| addr.to_string())
    /// }
    /// ```
    pub async fn conn(&self, id: ConnId) -> Option<Conn<Out, In>> {
        let key = id.key_on(self.inner.node)?;
        let port = self.inner.shards.port(key)?;
        let (sender, answer) = oneshot::channel();
        port.ask_link(key, Box::new(move |link| drop(sender.send(link))));
        Conn::from_link(&*shielded(answer).await.ok().flatten()?)
    }

    /// Lists all open connections of this node, in no particular order. The list includes
    /// connections whose `on_connect` still runs.
    ///
    /// Asks the shards, so the list reflects all earlier calls of this task. A shard answers in
    /// slices of 1,024 connections, and handles its other work in between. A connection that is
    /// open during the whole call is in the list exactly once. A connection that opens meanwhile
    /// may be missing. A connection that ends meanwhile may be in the list: see
    /// [`is_closed`](Conn::is_closed).
    ///
    /// Cost: 8 bytes for each connection of the list, and 8 more if a shard has more than one
    /// slice. A connection that ends keeps about a kilobyte of memory while the list holds it.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn conns(&self) -> Vec<Conn<Out, In>> {
        self.list(|port, before, reply| port.ask_conns(before, reply)).await
    }

    /// Lists the members of a room on this node, in no particular order.
    ///
    /// Works as [`conns`](Self::conns): a connection that is a member during the whole call is in
    /// the list exactly once. A connection that joins meanwhile may be missing. A connection that
    /// leaves meanwhile may be in the list.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    ///
    /// # Examples
    /// ```
    /// use roomcast::Hub;
    ///
    /// #[derive(Clone)]
    /// struct User(String);
    ///
    /// /// The names of the users in a room; `on_upgrade` has attached a `User` to each connection.
    /// async fn users_in(hub: &Hub<String>, room: &str) -> Vec<String> {
    ///     let members = hub.members(room).await;
    ///     members.iter().map(|conn| conn.get::<User>().0.clone()).collect()
    /// }
    /// ```
    pub async fn members(&self, room: &str) -> Vec<Conn<Out, In>> {
        self.list(|port, before, reply| port.ask_members(room, before, reply)).await
    }

    /// Lists the names of all rooms with members on this node, sorted.
    ///
    /// A join counts when the call has returned. A leave, or the end of a connection, counts when
    /// the shard has handled it. A room that is created meanwhile may be missing.
    ///
    /// Cost: a copy of all names. Other tasks may run after each 1,024 names. To get only the
    /// number of rooms, see [`Stats::rooms`](crate::Stats::rooms).
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn rooms(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        for port in self.inner.shards.ports() {
            let rooms = port.rooms().snapshot();
            for (at, room) in rooms.names().enumerate() {
                names.insert(room.to_owned());
                if at % NAMES_PER_TURN == NAMES_PER_TURN - 1 {
                    yield_now().await;
                }
            }
        }
        names.into_iter().collect()
    }

    /// The number of open connections on this node. A connection counts from just before the
    /// response to its handshake. If the client never takes the response, it counts for at most
    /// [`upgrade_timeout`](crate::Builder::upgrade_timeout).
    ///
    /// Cost: one atomic load per shard.
    pub fn count(&self) -> usize {
        self.inner.shards.connections()
    }

    /// The number of members of a room on this node. A join or a leave by [`Conn`] counts when the
    /// call has returned. A join or a leave by `Hub`, and the end of a connection, count when the
    /// shard has handled them. If [`Conn::leave`] is called for a connection that is not a member,
    /// the number may be too low by one until the shard has handled the call.
    ///
    /// Cost: one look-up per shard.
    pub fn member_count(&self, room: &str) -> usize {
        self.inner.shards.members(room)
    }

    /// Reads a list of connections from all shards in parallel, slice by slice.
    async fn list(
        &self,
        ask: impl Fn(&Port<WriteHalf>, usize, Reply<Slice>),
    ) -> Vec<Conn<Out, In>> {
        let asked = |index: usize, before| {
            let (sender, answer) = oneshot::channel();
            let port = &self.inner.shards.ports()[index];
            ask(port, before, Box::new(move |slice| drop(sender.send(slice))));
            (index, answer)
        };
        let mut answers: Vec<_> =
            (0..self.inner.shards.ports().len()).map(|index| asked(index, usize::MAX)).collect();
        let mut found = Found { conns: Vec::new(), seen: HashSet::new() };
        let mut is_first = true;
        while !answers.is_empty() {
            let mut next = Vec::new();
            for (index, answer) in answers {
                // A shard that is gone has no connections.
                let Ok(Slice { links, begin }) = shielded(answer).await else { continue };
                let conns = links.iter().filter_map(|link| Conn::from_link(link));
                match begin {
                    0 if is_first => found.conns.extend(conns),
                    _ => found.add(conns),
                }
                if begin > 0 {
                    next.push(asked(index, begin));
                }
            }
            (answers, is_first) = (next, false);
        }
        found.conns
    }
}

/// The connections found so far. A connection may be in two slices of its shard; `seen` removes the
/// second one.
struct Found<Out, In> {
    conns: Vec<Conn<Out, In>>,
    seen: HashSet<ConnKey>,
}

impl<Out: 'static, In: Send + 'static> Found<Out, In> {
    fn add(&mut self, conns: impl Iterator<Item = Conn<Out, In>>) {
        self.conns.extend(conns.filter(|conn| self.seen.insert(conn.key())));
    }
}
