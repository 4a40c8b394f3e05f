//! The connections of a shard and the members of its rooms, linked both ways.
//!
//! # Invariants
//!
//! 1. A membership is two entries that know each other's index: `members[index] = (conn, back)` in
//!    the room, and `memberships[back] = (room, index)` in the connection. A join appends to both.
//!    A leave moves the last entry into the gap on each side and corrects its partner: O(1), once
//!    the membership is found among those of the connection.
//! 2. Each membership holds one claim on the room and one reserved membership of the [`Link`]. Both
//!    are released when it ends.
//! 3. `everyone[entry.place]` is the slot of the entry until the connection is withdrawn; from then
//!    on the connection is in no room.
//! 4. A room has a slot from its first join in this shard until its last claim is gone. So it keeps
//!    the slot while it is empty and joins are on their way.

use std::hash::BuildHasher;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use slab::Slab;

use super::compressing::{ClientWindow, StreamId};
use super::conn_slot::ConnSlot;
use super::outlet::Outlet;
use super::wheel::WheelPosition;
use crate::engine::command::Slice;
use crate::engine::link::{ConnKey, Link, Stage};
use crate::engine::port::Port;
use crate::engine::room::{NO_SLOT, Room};
use crate::engine::socket::Socket;

/// The most connections in one slice of a list: about 50 µs of work, as much as ten writes.
const SLICE_CONNS: usize = 1_024;

/// A connection.
pub(super) struct Entry<S> {
    /// The same as in `link`, in this allocation: a fan-out does not touch the memory shared with
    /// the session.
    pub(super) id: ConnKey,
    pub(super) link: Arc<Link>,
    /// When the connection began, in milliseconds of the shard's clock. The session's earlier
    /// stamps may come from a clock that stood still: a shard without connections sleeps.
    pub(super) attached_ms: u64,
    pub(super) outlet: Outlet<S>,
    /// The same as in `link`, in this allocation, with the stages that the link does not show.
    pub(super) stage: Stage,
    memberships: Memberships,
    /// The index in `everyone` (invariant 3).
    place: u32,
    /// The mark of this connection in the turn of each lane.
    pub(super) marks: [Mark; 2],
    /// The number of the sweep's last delivery to this connection alone.
    pub(super) last_swept: u64,
    pub(super) wheel: Option<WheelPosition>,
    /// When the next ping is due, in milliseconds of the shard's clock.
    pub(super) ping_due_ms: u64,
    pub(super) window: ClientWindow,
}

impl<S> Entry<S> {
    /// Whether a burst can be written at once.
    pub(super) fn is_ready(&self) -> bool
    where
        S: Socket,
    {
        self.stage == Stage::Open && !self.outlet.has_backlog()
    }

    /// Moves the stage forward, here and in the link, and notifies the session.
    pub(super) fn advance(&mut self, stage: Stage) {
        self.stage = stage;
        self.link.advance(stage);
    }
}

/// The index of a group of deliveries in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupId(pub(super) u32);

/// A note of one turn; it means nothing in any other turn. The stamp of the turn in the upper bits
/// and a group in the lower 16 bits: one word, because every connection has two of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mark(u64);

impl Mark {
    const GROUP_BITS: u32 = 16;

    /// Ids of groups are smaller than this.
    pub(super) const GROUPS: u32 = 1 << Self::GROUP_BITS;

    /// The 48 bits of the stamp last for 89 years at 100,000 turns a second.
    pub(super) fn new(turn: u64, group: GroupId) -> Self {
        debug_assert!(group.0 < Self::GROUPS);
        Self(turn << Self::GROUP_BITS | u64::from(group.0))
    }

    /// The group, if the mark was made in `turn`.
    pub(super) fn group_in(self, turn: u64) -> Option<GroupId> {
        (self.0 >> Self::GROUP_BITS == turn).then_some(GroupId(self.0 as u32 % Self::GROUPS))
    }
}

#[derive(Debug, Clone, Copy)]
struct Membership {
    room: u32,
    index: u32,
}

/// The memberships of a connection. One membership, the most common number, needs no allocation.
#[derive(Debug)]
enum Memberships {
    One([Membership; 1]),
    List(Vec<Membership>),
}

impl Default for Memberships {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Memberships {
    fn push(&mut self, last: Membership) {
        match self {
            Self::One([first]) => *self = Self::List(vec![*first, last]),
            Self::List(all) if all.is_empty() => *self = Self::One([last]),
            Self::List(all) => all.push(last),
        }
    }

    fn swap_remove(&mut self, index: usize) -> Membership {
        match self {
            Self::One(one) => {
                let removed = one[index];
                *self = Self::default();
                removed
            }
            Self::List(all) => all.swap_remove(index),
        }
    }
}

impl Deref for Memberships {
    type Target = [Membership];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::One(one) => one,
            Self::List(all) => all,
        }
    }
}

impl DerefMut for Memberships {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::One(one) => one,
            Self::List(all) => all,
        }
    }
}

/// The members of a room.
pub(super) struct Members {
    room: Arc<Room>,
    members: Vec<Member>,
    /// The group of this room's deliveries in the turn of each lane.
    pub(super) marks: [Mark; 2],
    /// The number of the sweep's last delivery to this room.
    pub(super) last_swept: u64,
    /// The members that can inflate.
    inflating: usize,
    /// The stream of compressed bursts to this room.
    pub(super) stream: Option<StreamId>,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    conn: ConnSlot,
    back: u32,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// The members that can inflate.
    pub(super) fn inflating(&self) -> usize {
        self.inflating
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = ConnSlot> {
        self.members.iter().map(|member| member.conn)
    }

    pub(super) fn slot_at(&self, index: usize) -> Option<ConnSlot> {
        self.members.get(index).map(|member| member.conn)
    }
}

/// The connections and the rooms of a shard.
pub(super) struct Table<S> {
    conns: Slab<Entry<S>>,
    /// The slot of each connection, found by the id in its entry: a map from ids to slots would
    /// hold each id twice.
    slots: HashTable<ConnSlot>,
    /// The slots of the connections that are not withdrawn.
    everyone: Vec<ConnSlot>,
    /// The connections in `everyone` that can inflate.
    inflating: usize,
    /// The stream of compressed bursts to everyone.
    pub(super) stream_to_everyone: Option<StreamId>,
    rooms: Slab<Members>,
    port: Arc<Port<S>>,
}

impl<S> Table<S> {
    pub(super) fn new(port: Arc<Port<S>>) -> Self {
        Self {
            conns: Slab::new(),
            slots: HashTable::new(),
            everyone: Vec::new(),
            inflating: 0,
            stream_to_everyone: None,
            rooms: Slab::new(),
            port,
        }
    }

    pub(super) fn everyone(&self) -> &[ConnSlot] {
        &self.everyone
    }

    /// The open connections that can inflate.
    pub(super) fn inflating(&self) -> usize {
        self.inflating
    }

    /// All connections with an entry, including those that have ended.
    pub(super) fn ids(&self) -> impl Iterator<Item = ConnKey> {
        self.conns.iter().map(|(_, entry)| entry.id)
    }

    pub(super) fn links(&self) -> impl Iterator<Item = &Link> {
        self.conns.iter().map(|(_, entry)| &*entry.link)
    }

    pub(super) fn slot(&self, id: ConnKey) -> Option<ConnSlot> {
        self.slots.find(hash(id), |&slot| self.conns[slot.index()].id == id).copied()
    }

    pub(super) fn get(&self, slot: ConnSlot) -> Option<&Entry<S>> {
        self.conns.get(slot.index())
    }

    pub(super) fn get_mut(&mut self, slot: ConnSlot) -> Option<&mut Entry<S>> {
        self.conns.get_mut(slot.index())
    }

    /// The members of a room; `None` if no join has reached the shard (invariant 4).
    pub(super) fn members(&self, room: &Room) -> Option<&Members> {
        self.rooms.get(room.slot() as usize)
    }

    pub(super) fn members_mut(&mut self, room: &Room) -> Option<&mut Members> {
        self.rooms.get_mut(room.slot() as usize)
    }

    pub(super) fn insert(&mut self, link: Arc<Link>, outlet: Outlet<S>, now: Duration) -> ConnSlot {
        let id = link.id();
        let window = ClientWindow::new(link.inflater());
        self.inflating += usize::from(window.can_inflate());
        let index = self.conns.insert(Entry {
            id,
            attached_ms: now.as_millis() as u64,
            link,
            outlet,
            stage: Stage::Open,
            memberships: Memberships::default(),
            place: self.everyone.len() as u32,
            marks: [Mark::default(); 2],
            last_swept: 0,
            wheel: None,
            ping_due_ms: 0,
            window,
        });
        let slot = ConnSlot::at(index);
        self.everyone.push(slot);
        self.slots.insert_unique(hash(id), slot, |&slot| hash(self.conns[slot.index()].id));
        slot
    }

    /// Takes the connection out of `everyone` and of all rooms, and returns these rooms.
    pub(super) fn withdraw(&mut self, slot: ConnSlot) -> Vec<Arc<Room>> {
        let entry = &self.conns[slot.index()];
        let place = entry.place as usize;
        self.inflating -= usize::from(entry.window.can_inflate());
        self.everyone.swap_remove(place);
        if let Some(&moved) = self.everyone.get(place) {
            self.conns[moved.index()].place = place as u32;
        }
        let mut rooms = Vec::with_capacity(self.conns[slot.index()].memberships.len());
        while let Some(last) = self.conns[slot.index()].memberships.len().checked_sub(1) {
            rooms.push(self.unlink(slot, last, Link::release_membership));
        }
        rooms
    }

    pub(super) fn remove(&mut self, slot: ConnSlot) -> Entry<S> {
        let entry = self.conns.remove(slot.index());
        if let Ok(found) = self.slots.find_entry(hash(entry.id), |&other| other == slot) {
            found.remove();
        }
        entry
    }

    /// Makes `slot` a member of `room`, with a claim and a reserved membership. If it is a
    /// member already, releases the claim and the membership.
    pub(super) fn join(&mut self, slot: ConnSlot, room: Arc<Room>) {
        if self.position(slot, &room).is_some() {
            self.conns[slot.index()].link.release_membership();
            return self.release(&room);
        }
        if room.slot() == NO_SLOT {
            let members = Members {
                room: room.clone(),
                members: Vec::new(),
                marks: [Mark::default(); 2],
                last_swept: 0,
                inflating: 0,
                stream: None,
            };
            room.set_slot(self.rooms.insert(members) as u32);
            self.port.counters().rooms.add(1);
        }
        // Invariant 1.
        let Members { members, inflating, .. } = &mut self.rooms[room.slot() as usize];
        let Entry { memberships, window, .. } = &mut self.conns[slot.index()];
        *inflating += usize::from(window.can_inflate());
        members.push(Member { conn: slot, back: memberships.len() as u32 });
        memberships.push(Membership { room: room.slot(), index: members.len() as u32 - 1 });
    }

    pub(super) fn leave(&mut self, slot: ConnSlot, room: &Room) {
        match self.position(slot, room) {
            Some(back) => drop(self.unlink(slot, back, Link::release_left_membership)),
            None => self.conns[slot.index()].link.finish_leaving(),
        }
    }

    /// Makes `slot` a member of a room on which somebody else holds a claim; `false` if the
    /// connection is in `rooms_max` rooms already.
    pub(super) fn enter(&mut self, slot: ConnSlot, room: &Arc<Room>, rooms_max: u32) -> bool {
        if self.is_member(slot, room) {
            return true;
        }
        if !self.conns[slot.index()].link.reserve_membership(rooms_max) {
            return false;
        }
        let is_claimed = room.claim();
        debug_assert!(is_claimed, "a room with a claim is not retired");
        self.join(slot, room.clone());
        true
    }

    /// Takes a connection out of a room, if it is in it. Unlike [`leave`](Self::leave), for a leave
    /// that was not counted in the link.
    pub(super) fn expel(&mut self, slot: ConnSlot, room: &Room) {
        if let Some(back) = self.position(slot, room) {
            self.unlink(slot, back, Link::release_membership);
        }
    }

    /// The rooms that a connection is in.
    pub(super) fn rooms_of(&self, slot: ConnSlot) -> Vec<Arc<Room>> {
        let memberships = &self.conns[slot.index()].memberships;
        memberships.iter().map(|at| self.rooms[at.room as usize].room.clone()).collect()
    }

    /// The slice of the members of a room, or of all open connections, that ends before the index
    /// `before`.
    pub(super) fn slice(&self, room: Option<&Room>, before: usize) -> Slice {
        let members = room.and_then(|room| self.members(room));
        let len =
            if room.is_some() { members.map_or(0, Members::len) } else { self.everyone.len() };
        let end = before.min(len);
        let begin = end.saturating_sub(SLICE_CONNS);
        let slot = |place: usize| match members {
            Some(members) => members.members[place].conn,
            None => self.everyone[place],
        };
        let link = |place| self.conns[slot(place).index()].link.clone();
        Slice { links: (begin..end).map(link).collect(), begin }
    }

    /// The number of the sweep's last delivery to the connection alone or to one of its rooms.
    pub(super) fn last_swept(&self, slot: ConnSlot) -> u64 {
        let Some(entry) = self.get(slot) else { return 0 };
        let rooms = entry.memberships.iter().map(|at| self.rooms[at.room as usize].last_swept);
        rooms.fold(entry.last_swept, u64::max)
    }

    /// Whether the connection is in [`everyone`](Self::everyone): not withdrawn.
    pub(super) fn is_listed(&self, slot: ConnSlot) -> bool {
        self.get(slot).is_some_and(|entry| self.everyone.get(entry.place as usize) == Some(&slot))
    }

    /// Whether the connection is in the room.
    pub(super) fn is_member(&self, slot: ConnSlot, room: &Room) -> bool {
        self.position(slot, room).is_some()
    }

    /// Whether any room of the connection satisfies `predicate`.
    pub(super) fn any_room(&self, slot: ConnSlot, predicate: impl Fn(&Members) -> bool) -> bool {
        let memberships = self.get(slot).map_or(&[][..], |entry| &entry.memberships);
        memberships.iter().any(|at| predicate(&self.rooms[at.room as usize]))
    }

    /// The index of the membership among those of the connection. Walks over at most
    /// `rooms_per_conn` entries of 8 bytes.
    fn position(&self, slot: ConnSlot, room: &Room) -> Option<usize> {
        let memberships = &self.conns[slot.index()].memberships;
        memberships.iter().position(|at| at.room == room.slot())
    }

    /// Ends a membership (invariants 1 and 2). `release` takes it off the count in the link.
    fn unlink(&mut self, slot: ConnSlot, back: usize, release: impl Fn(&Link)) -> Arc<Room> {
        let Entry { memberships, window, .. } = &mut self.conns[slot.index()];
        let Membership { room, index } = memberships.swap_remove(back);
        self.rooms[room as usize].inflating -= usize::from(window.can_inflate());
        if let Some(&moved) = memberships.get(back) {
            let members = &mut self.rooms[moved.room as usize].members;
            members[moved.index as usize].back = back as u32;
        }
        let members = &mut self.rooms[room as usize].members;
        members.swap_remove(index as usize);
        if let Some(&moved) = members.get(index as usize) {
            self.conns[moved.conn.index()].memberships[moved.back as usize].index = index;
        }
        let room = self.rooms[room as usize].room.clone();
        release(&self.conns[slot.index()].link);
        self.release(&room);
        room
    }

    /// Releases a claim. With the last claim, the room goes (invariant 4).
    pub(super) fn release(&mut self, room: &Arc<Room>) {
        if self.port.rooms().unclaim(room) && room.slot() != NO_SLOT {
            self.rooms.remove(room.slot() as usize);
            room.set_slot(NO_SLOT);
            self.port.counters().rooms.sub(1);
        }
    }
}

/// The hub gives ids out in sequence, so nobody can choose ids that collide.
fn hash(id: ConnKey) -> u64 {
    FixedState::default().hash_one(id)
}
