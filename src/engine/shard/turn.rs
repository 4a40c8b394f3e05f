//! One turn of a shard: the deliveries of a batch, grouped so that each member gets its frames in
//! as few writes as order allows.
//!
//! Deliveries of one audience form a group, and a group's frames are joined into one burst. For a
//! connection that only one group of the turn reaches, that burst is all it gets, and it cannot see
//! in which order groups were written. A connection that several groups reach, or that a delivery
//! excepts, is *mixed*: it is passed over, and gets its own selection of frames at the end, in
//! the order of the inbox.
//!
//! A turn is resumable: the cursor says where the fan-out stands, and nothing is taken from the
//! inbox meanwhile, so members do not change under it.

use std::mem;
use std::sync::Arc;

use super::audience::size;
use super::outlet::{Failure, Post};
use super::selection::Selection;
use super::table::{Mark, Table};
use crate::engine::command::{Audience, Delivery};
use crate::engine::link::ConnId;
use crate::engine::room_index::Room;
use crate::engine::socket::Socket;

/// The group of a connection that needs a selection of its own.
const MIXED: u32 = u32::MAX;

/// The group of a connection that has got a union's burst: it may be met again in another room.
const SERVED: u32 = u32::MAX - 1;

/// The end of a chain of deliveries.
const END: u32 = u32::MAX;

/// The most deliveries that a turn takes: enough for the bursts of a thousand busy rooms to join,
/// and 320 KiB of batch.
pub(super) const TURN_DELIVERIES_MAX: usize = 4_096;

/// The most bytes of frames that a turn takes.
pub(super) const TURN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most recipients of a turn, over its groups, unless it has one group only: marking them is not
/// part of any slice, and each of them may become mixed. About 2 ms and 2 MiB.
const TURN_REACH_MAX: usize = 256 * 1024;

/// Deliveries of one audience, as a chain through the turn's deliveries.
#[derive(Debug, Clone, Copy)]
struct Group {
    first: u32,
    last: u32,
}

/// Where the fan-out stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cursor {
    /// Deliveries are being added.
    Collecting,
    /// This member of this room of this group is next. A group that is no union has one room.
    Group { group: usize, room: usize, member: usize },
    /// The mixed connections follow, from this index on.
    Mixed { at: usize },
}

/// The state of a turn; its buffers are kept from turn to turn.
pub(super) struct Turn {
    stamp: u64,
    cursor: Cursor,
    deliveries: Vec<Delivery>,
    /// For each delivery, the next one of its group.
    next: Vec<u32>,
    groups: Vec<Group>,
    everyone: Option<u32>,
    has_unions: bool,
    has_exceptions: bool,
    bytes: usize,
    /// Recipients, over all groups.
    reach: usize,
    mixed: Vec<(u32, u32)>,
    selection: Selection,
}

impl Turn {
    /// A turn without deliveries, whose bursts fit into a send queue of `queue_bytes`.
    pub(super) fn new(queue_bytes: usize) -> Self {
        Self {
            // The mark of an entry that was never marked is 0.
            stamp: 1,
            cursor: Cursor::Collecting,
            deliveries: Vec::new(),
            next: Vec::new(),
            groups: Vec::new(),
            everyone: None,
            has_unions: false,
            has_exceptions: false,
            bytes: 0,
            reach: 0,
            mixed: Vec::new(),
            selection: Selection::new(queue_bytes),
        }
    }

    /// How many deliveries it has.
    pub(super) fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether it has nothing to deliver.
    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Whether it should be delivered before more is added.
    pub(super) fn is_full(&self) -> bool {
        self.deliveries.len() >= TURN_DELIVERIES_MAX || self.bytes >= TURN_BYTES_MAX
    }

    /// Whether the turn would have too many recipients with this delivery.
    pub(super) fn would_overreach<S>(&self, delivery: &Delivery, table: &Table<S>) -> bool {
        let is_of_known_group = match &delivery.audience {
            Audience::Everyone => self.everyone.is_some(),
            Audience::Room(room) => self.is_addressed(room, table),
            Audience::Rooms(_) | Audience::Conn(_) => false,
        };
        !self.is_empty()
            && !is_of_known_group
            && self.reach + size(&delivery.audience, table) > TURN_REACH_MAX
    }

    /// Whether a change of the members of `room` would be seen by a delivery of this turn.
    pub(super) fn touches<S>(&self, room: &Room, table: &Table<S>) -> bool {
        self.has_unions || self.is_addressed(room, table)
    }

    fn is_addressed<S>(&self, room: &Room, table: &Table<S>) -> bool {
        table.members(room).is_some_and(|members| members.mark.turn == self.stamp)
    }

    /// Whether a new connection would be seen by a delivery of this turn.
    pub(super) fn touches_everyone(&self) -> bool {
        self.everyone.is_some()
    }

    /// Adds a delivery; one that reaches nobody here is dropped.
    pub(super) fn add<S>(&mut self, delivery: Delivery, table: &mut Table<S>) {
        let Some(group) = self.group_of(&delivery, table) else {
            return;
        };
        let index = self.deliveries.len() as u32;
        match group {
            Some(group) => {
                let group = &mut self.groups[group as usize];
                self.next[group.last as usize] = index;
                group.last = index;
            }
            None => {
                self.groups.push(Group { first: index, last: index });
                self.reach += size(&delivery.audience, table);
            }
        }
        self.bytes += delivery.frame.len();
        self.has_exceptions |= !delivery.except.ids().is_empty();
        self.deliveries.push(delivery);
        self.next.push(END);
    }

    /// The group that the delivery belongs to: `None` if it reaches nobody, `Some(None)` if it needs
    /// a new one, which is noted where the next delivery of that audience will look.
    fn group_of<S>(&mut self, delivery: &Delivery, table: &mut Table<S>) -> Option<Option<u32>> {
        let fresh = self.groups.len() as u32;
        match &delivery.audience {
            Audience::Everyone => {
                let known = self.everyone;
                self.everyone = known.or(Some(fresh));
                Some(known)
            }
            Audience::Room(room) => {
                let mark = &mut table.members_mut(room)?.mark;
                if mark.turn == self.stamp {
                    return Some(Some(mark.group));
                }
                *mark = Mark { turn: self.stamp, group: fresh };
                Some(None)
            }
            Audience::Rooms(_) => {
                self.has_unions = true;
                Some(None)
            }
            Audience::Conn(id) => {
                table.slot(*id)?;
                // Consecutive sends to one connection join; others become mixed, which is as good.
                let last = self.groups.last().map(|group| group.first as usize);
                let is_same = last.is_some_and(|first| {
                    matches!(self.deliveries[first].audience, Audience::Conn(last) if last == *id)
                });
                Some(is_same.then(|| fresh - 1))
            }
        }
    }

    /// Starts the fan-out: finds out which connections are mixed.
    pub(super) fn begin<S>(&mut self, table: &mut Table<S>) {
        self.cursor = Cursor::Group { group: 0, room: 0, member: 0 };
        if self.has_exceptions {
            self.mark_excepted(table);
        }
        if self.groups.len() > 1 || self.has_unions {
            for group in 0..self.groups.len() {
                self.mark_group(group, table);
            }
        }
        self.select_group(0);
    }

    fn mark_excepted<S>(&self, table: &mut Table<S>) {
        for id in self.deliveries.iter().flat_map(|delivery| delivery.except.ids()) {
            let slot = table.slot(*id);
            if let Some(entry) = slot.and_then(|slot| table.get_mut(slot)) {
                entry.mark = Mark { turn: self.stamp, group: MIXED };
            }
        }
    }

    fn mark_group<S>(&self, group: usize, table: &mut Table<S>) {
        let (mut room, mut member) = (0, 0);
        while let Some(slot) = self.next_member(group, &mut room, &mut member, table) {
            let Some(entry) = table.get_mut(slot) else { continue };
            if entry.mark.turn != self.stamp {
                entry.mark = Mark { turn: self.stamp, group: group as u32 };
            } else if entry.mark.group != group as u32 {
                entry.mark.group = MIXED;
            }
        }
    }

    /// The member at the cursor, which is moved behind it.
    fn next_member<S>(
        &self,
        group: usize,
        room: &mut usize,
        member: &mut usize,
        table: &Table<S>,
    ) -> Option<u32> {
        let rooms = match &self.deliveries[self.groups[group].first as usize].audience {
            Audience::Everyone => return at(table.everyone(), member),
            Audience::Conn(id) => return table.slot(*id).filter(|_| mem::replace(member, 1) == 0),
            Audience::Room(room) => std::slice::from_ref(room),
            Audience::Rooms(rooms) => rooms,
        };
        while let Some(current) = rooms.get(*room) {
            if let Some(slot) = member_at(table, current, *member) {
                *member += 1;
                return Some(slot);
            }
            *room += 1;
            *member = 0;
        }
        None
    }

    /// Goes on with the fan-out until it is over or `budget` writes are used up; `true` if it is
    /// over. Connections that fail are added to `failed`, and get nothing more.
    pub(super) fn fan_out<S: Socket>(
        &mut self,
        table: &mut Table<S>,
        post: &mut Post<S>,
        failed: &mut Vec<(ConnId, Failure)>,
        budget: &mut usize,
    ) -> bool {
        while self.cursor != Cursor::Collecting {
            if *budget == 0 {
                return false;
            }
            let recipient = match self.cursor {
                Cursor::Collecting => None,
                Cursor::Group { .. } => self.next_of_groups(table),
                Cursor::Mixed { at } => self.next_of_mixed(at, table),
            };
            if let Some(slot) = recipient {
                self.selection.send(slot, table, post, failed);
                *budget -= 1;
            }
        }
        true
    }

    /// The next connection that gets the selected bursts as a member of a group; `None` where it is
    /// passed over, or the cursor has moved to another group.
    fn next_of_groups<S>(&mut self, table: &mut Table<S>) -> Option<u32> {
        let Cursor::Group { group, mut room, mut member } = self.cursor else { return None };
        let Some(slot) = self.next_member(group, &mut room, &mut member, table) else {
            self.finish_group(group);
            return None;
        };
        self.cursor = Cursor::Group { group, room, member };
        let entry = table.get_mut(slot)?;
        if entry.mark.turn == self.stamp {
            match entry.mark.group {
                MIXED => {
                    self.mixed.push((slot, group as u32));
                    return None;
                }
                SERVED => return None,
                _ if self.has_unions => entry.mark.group = SERVED,
                _ => {}
            }
        }
        Some(slot)
    }

    fn finish_group(&mut self, group: usize) {
        if group + 1 < self.groups.len() {
            self.cursor = Cursor::Group { group: group + 1, room: 0, member: 0 };
            self.select_group(group + 1);
        } else {
            self.mixed.sort_unstable();
            self.mixed.dedup();
            self.cursor = Cursor::Mixed { at: 0 };
        }
    }

    fn next_of_mixed<S>(&mut self, at: usize, table: &mut Table<S>) -> Option<u32> {
        let Some(&(slot, _)) = self.mixed.get(at) else {
            self.finish();
            return None;
        };
        let end = at + self.mixed[at..].iter().take_while(|(other, _)| *other == slot).count();
        self.cursor = Cursor::Mixed { at: end };
        let id = table.get_mut(slot)?.id;
        self.select_mixed(at..end, id);
        (!self.selection.is_empty()).then_some(slot)
    }

    fn select_group(&mut self, group: usize) {
        self.selection.indices.clear();
        let Some(&Group { first, .. }) = self.groups.get(group) else { return };
        self.chain(first);
        self.selection.join(&self.deliveries);
    }

    /// Selects what the groups of one mixed connection bring it.
    fn select_mixed(&mut self, range: std::ops::Range<usize>, id: ConnId) {
        self.selection.indices.clear();
        for at in range {
            let (_, group) = self.mixed[at];
            self.chain(self.groups[group as usize].first);
        }
        self.selection.pass_by(id, &self.deliveries);
        self.selection.indices.sort_unstable();
        self.selection.join(&self.deliveries);
    }

    fn chain(&mut self, first: u32) {
        let mut index = first;
        while index != END {
            self.selection.indices.push(index);
            index = self.next[index as usize];
        }
    }

    fn finish(&mut self) {
        self.stamp += 1;
        self.cursor = Cursor::Collecting;
        self.deliveries.clear();
        self.next.clear();
        self.groups.clear();
        self.mixed.clear();
        self.selection.clear();
        self.everyone = None;
        self.has_unions = false;
        self.has_exceptions = false;
        self.bytes = 0;
        self.reach = 0;
    }
}

fn at(slots: &[u32], index: &mut usize) -> Option<u32> {
    let slot = slots.get(*index).copied()?;
    *index += 1;
    Some(slot)
}

fn member_at<S>(table: &Table<S>, room: &Arc<Room>, index: usize) -> Option<u32> {
    table.members(room)?.slot_at(index)
}
