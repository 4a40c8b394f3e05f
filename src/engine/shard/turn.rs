//! One turn of a shard: the deliveries of a batch, grouped so that each member gets its frames in
//! as few writes as order allows.
//!
//! Deliveries of one audience form a group, and a group's frames are joined into one burst. For a
//! connection that only one group of the turn reaches, that burst is all it gets, and it cannot see
//! in which order groups were written. A connection that several groups reach, or that a delivery
//! excepts, is *mixed*: it gets its own selection of frames at the end, in the order of the inbox.
//!
//! A turn begins by planning who gets what, and works the plan off in slices. Members that come and
//! go meanwhile do not change it: a message is for those who were members when it was published. A
//! connection that ends is [settled](Turn::settle) before: it gets at once what the turn has for it.

mod settle;

use std::iter;
use std::mem;

use super::STEPS_PER_WRITE;
use super::audience::{for_each, size};
use super::conn_slot::ConnSlot;
use super::ending::DueQueue;
use super::post::Post;
use super::selection::{DeliveryIndex, Selection};
use super::table::{GroupId, Mark, Table};
use crate::engine::command::{Audience, Delivery};
use crate::engine::frame;
use crate::engine::link::ConnKey;
use crate::engine::room::Room;
use crate::engine::socket::Socket;

/// The group of a connection that needs a selection of its own.
const MIXED: GroupId = GroupId(Mark::GROUPS - 1);

/// The group of a connection that a union has in its plan: it may be met again in another room.
const PLANNED: GroupId = GroupId(Mark::GROUPS - 2);

/// The end of a chain of deliveries.
const END: DeliveryIndex = DeliveryIndex::MAX;

/// The most deliveries that a turn takes: enough for the bursts of a thousand busy rooms to join,
/// and 320 KiB of batch.
pub(super) const TURN_DELIVERIES_MAX: usize = 4_096;

/// Each may be a group of its own.
const _: () = assert!(TURN_DELIVERIES_MAX <= PLANNED.0 as usize);

/// The most bytes of frames that a turn takes.
pub(super) const TURN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most recipients of a turn, over its groups, unless it has one group only: marking them is not
/// part of any slice, and each of them may become mixed. About 2 ms and 2 MiB.
const TURN_REACH_MAX: usize = 256 * 1024;

/// Deliveries of one audience, as a chain through the turn's deliveries.
#[derive(Debug, Clone, Copy)]
struct Group {
    first: DeliveryIndex,
    last: DeliveryIndex,
    /// Of its frames.
    bytes: usize,
    /// Recipients.
    reach: usize,
}

/// A connection, and a group that reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    slot: ConnSlot,
    group: GroupId,
}

/// Where the fan-out stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cursor {
    /// Deliveries are being added.
    Collecting,
    /// This part of the plan is next.
    Planned { at: usize },
    /// The mixed connections follow, from this index on.
    Mixed { at: usize },
}

/// Which of a connection's and a room's marks a turn uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Lane {
    /// Deliveries to few, one turn after the other.
    Direct,
    /// Deliveries to many, beside those turns.
    Sweep,
}

/// The state of a turn; its buffers are kept from turn to turn.
pub(super) struct Turn {
    lane: Lane,
    stamp: u64,
    cursor: Cursor,
    deliveries: Vec<Delivery>,
    /// For each delivery, the next one of its group, or [`END`].
    next: Vec<DeliveryIndex>,
    groups: Vec<Group>,
    everyone: Option<GroupId>,
    has_unions: bool,
    has_exceptions: bool,
    has_followers: bool,
    bytes: usize,
    /// The most bytes of one group's frames, unless it is one frame: what alone fills the queue of a
    /// client that is slow for a moment would evict it without a chance.
    group_bytes_max: usize,
    /// Recipients, over all groups.
    reach: usize,
    /// Connections that one group reaches, group by group.
    plan: Vec<Step>,
    /// Connections that several groups reach, once for each of these; sorted.
    mixed: Vec<Step>,
    /// The group that is selected.
    selected: Option<GroupId>,
    selection: Selection,
    /// Recipients that were passed over since that was last charged to a budget.
    passed_over: usize,
}

impl Turn {
    /// A turn without deliveries, whose bursts fit into a send queue of `queue_bytes`.
    pub(super) fn new(lane: Lane, queue_bytes: usize) -> Self {
        Self {
            lane,
            // The mark of an entry that was never marked is 0.
            stamp: 1,
            cursor: Cursor::Collecting,
            deliveries: Vec::new(),
            next: Vec::new(),
            groups: Vec::new(),
            everyone: None,
            has_unions: false,
            has_exceptions: false,
            has_followers: false,
            bytes: 0,
            group_bytes_max: queue_bytes / 2,
            reach: 0,
            plan: Vec::new(),
            mixed: Vec::new(),
            selected: None,
            selection: Selection::new(queue_bytes),
            passed_over: 0,
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

    /// Whether the delivery would bring too many recipients into the turn, or too much to those of
    /// its group.
    pub(super) fn would_overreach<S>(&self, delivery: &Delivery, table: &Table<S>) -> bool {
        let group = match &delivery.audience {
            Audience::Everyone => self.everyone,
            Audience::Room(room) => self.group_of_room(room, table),
            Audience::Conn(id) => self.last_group_to(*id),
            Audience::Rooms(_) => None,
        };
        match group {
            _ if self.is_empty() => false,
            Some(group) => {
                let bytes = self.group(group).bytes;
                bytes + delivery.frames.len() > self.group_bytes_max
            }
            None => self.reach + size(&delivery.audience, table) > TURN_REACH_MAX,
        }
    }

    /// Whether a change of the members of `room` would be seen by a delivery of this turn.
    pub(super) fn touches<S>(&self, room: &Room, table: &Table<S>) -> bool {
        self.has_unions || self.group_of_room(room, table).is_some()
    }

    fn group_of_room<S>(&self, room: &Room, table: &Table<S>) -> Option<GroupId> {
        table.members(room)?.marks[self.lane as usize].group_in(self.stamp)
    }

    /// Whether a new connection would be seen by a delivery of this turn.
    pub(super) fn touches_everyone(&self) -> bool {
        self.everyone.is_some()
    }

    /// Adds a delivery; gives back one that reaches nobody here.
    pub(super) fn add<S>(
        &mut self,
        mut delivery: Delivery,
        table: &mut Table<S>,
    ) -> Result<(), Delivery> {
        let index = self.deliveries.len() as DeliveryIndex;
        match self.group_of(&delivery, table) {
            Belongs::Nowhere => {
                delivery.answer(0);
                return Err(delivery);
            }
            Belongs::To(group) => {
                let group = &mut self.groups[group.0 as usize];
                self.next[group.last as usize] = index;
                group.last = index;
                group.bytes += delivery.frames.len();
            }
            Belongs::ToNew => {
                let bytes = delivery.frames.len();
                let reach = size(&delivery.audience, table);
                self.groups.push(Group { first: index, last: index, bytes, reach });
                self.reach += reach;
            }
        }
        self.bytes += delivery.frames.len();
        self.has_exceptions |= !delivery.except.ids().is_empty();
        self.has_followers |= delivery.reply.is_some();
        self.deliveries.push(delivery);
        self.next.push(END);
        Ok(())
    }

    /// The group that the delivery belongs to. A new one is noted where the next delivery of that audience
    /// will look.
    fn group_of<S>(&mut self, delivery: &Delivery, table: &mut Table<S>) -> Belongs {
        let (lane, stamp) = (self.lane as usize, self.stamp);
        let fresh = GroupId(self.groups.len() as u32);
        let known = match &delivery.audience {
            Audience::Everyone => {
                if table.everyone().is_empty() {
                    return Belongs::Nowhere;
                }
                let known = self.everyone;
                self.everyone = known.or(Some(fresh));
                known
            }
            Audience::Room(room) => {
                let Some(members) = table.members_mut(room) else { return Belongs::Nowhere };
                let known = members.marks[lane].group_in(stamp);
                if known.is_none() {
                    members.marks[lane] = Mark::new(stamp, fresh);
                }
                known
            }
            Audience::Rooms(_) => {
                self.has_unions = true;
                None
            }
            Audience::Conn(id) => {
                let entry = table.slot(*id).and_then(|slot| table.get_mut(slot));
                let Some(entry) = entry else { return Belongs::Nowhere };
                let known = self.last_group_to(*id);
                if known.is_none() {
                    // `begin` finds out whether it has other groups as well.
                    entry.marks[lane] = Mark::new(stamp, fresh);
                }
                known
            }
        };
        known.map_or(Belongs::ToNew, Belongs::To)
    }

    fn group(&self, id: GroupId) -> &Group {
        &self.groups[id.0 as usize]
    }

    fn group_ids(&self) -> impl Iterator<Item = GroupId> + use<> {
        (0..self.groups.len() as u32).map(GroupId)
    }

    /// Tells those that follow a delivery that it is out, with the messages of its group: they are one
    /// burst if they are small.
    fn answer_followers(&mut self) {
        for group in &self.groups {
            let next = |index: &DeliveryIndex| Some(self.next[*index as usize]);
            let next = |index: &DeliveryIndex| next(index).filter(|next| *next != END);
            let chain = iter::successors(Some(group.first), next).map(|index| index as usize);
            let frames = |index: usize| &self.deliveries[index].frames;
            let messages = chain.clone().map(|index| frame::count(frames(index))).sum();
            chain.for_each(|index| self.deliveries[index].answer(messages));
        }
    }

    /// The last group, if it is that of a connection: consecutive sends to one join. Others make it
    /// mixed, which is as good.
    fn last_group_to(&self, id: ConnKey) -> Option<GroupId> {
        let last = GroupId(self.groups.len().checked_sub(1)? as u32);
        let is_same = matches!(self.audience(last), Audience::Conn(to) if *to == id);
        is_same.then_some(last)
    }

    /// Bytes that it will write, over all recipients.
    pub(super) fn cost(&self) -> usize {
        self.groups.iter().map(|group| group.bytes.saturating_mul(group.reach)).sum()
    }

    /// Moves what has been collected to a turn of another lane that has nothing to deliver.
    pub(super) fn hand_over<S>(&mut self, other: &mut Self, table: &mut Table<S>) {
        for delivery in self.deliveries.drain(..) {
            // It reached somebody when it was added; who has ended since needs it no more.
            let _ = other.add(delivery, table);
        }
        self.finish();
    }

    /// Starts the fan-out: plans who gets what.
    pub(super) fn begin<S>(&mut self, table: &mut Table<S>) {
        if self.has_exceptions {
            self.mark_excepted(table);
        }
        // A sweep's marks also say what it owes.
        if self.groups.len() > 1 || self.has_unions || self.lane == Lane::Sweep {
            for group in self.group_ids() {
                let mark = |slot, table: &mut Table<S>| self.mark(slot, group, table);
                for_each(self.audience(group), table, mark);
            }
        }
        let (mut plan, mut mixed) = (mem::take(&mut self.plan), mem::take(&mut self.mixed));
        for group in self.group_ids() {
            for_each(self.audience(group), table, |slot, table| match self.place(slot, table) {
                Place::Planned => plan.push(Step { slot, group }),
                Place::Mixed => mixed.push(Step { slot, group }),
                Place::PlannedBefore => {}
            });
        }
        mixed.sort_unstable();
        mixed.dedup();
        (self.plan, self.mixed) = (plan, mixed);
        self.cursor = Cursor::Planned { at: 0 };
    }

    /// Whether the turn has still to serve a connection. For the lane of sweeps alone.
    pub(super) fn owes<S>(&self, slot: ConnSlot, table: &Table<S>) -> bool {
        self.cursor != Cursor::Collecting && self.is_marked(slot, table)
    }

    fn is_marked<S>(&self, slot: ConnSlot, table: &Table<S>) -> bool {
        let mark = table.get(slot).map(|entry| entry.marks[self.lane as usize]);
        mark.is_some_and(|mark| mark.group_in(self.stamp).is_some())
    }

    fn mark_excepted<S>(&self, table: &mut Table<S>) {
        for id in self.deliveries.iter().flat_map(|delivery| delivery.except.ids()) {
            let slot = table.slot(*id);
            if let Some(entry) = slot.and_then(|slot| table.get_mut(slot)) {
                entry.marks[self.lane as usize] = Mark::new(self.stamp, MIXED);
            }
        }
    }

    fn mark<S>(&self, slot: ConnSlot, group: GroupId, table: &mut Table<S>) {
        let Some(entry) = table.get_mut(slot) else { return };
        let mark = &mut entry.marks[self.lane as usize];
        match mark.group_in(self.stamp) {
            None => *mark = Mark::new(self.stamp, group),
            Some(known) if known != group => *mark = Mark::new(self.stamp, MIXED),
            Some(_) => {}
        }
    }

    fn place<S>(&self, slot: ConnSlot, table: &mut Table<S>) -> Place {
        let Some(entry) = table.get_mut(slot) else { return Place::PlannedBefore };
        let mark = &mut entry.marks[self.lane as usize];
        match mark.group_in(self.stamp) {
            None => Place::Planned,
            Some(MIXED) => Place::Mixed,
            Some(PLANNED) => Place::PlannedBefore,
            Some(_) => {
                if self.has_unions {
                    *mark = Mark::new(self.stamp, PLANNED);
                }
                Place::Planned
            }
        }
    }

    fn audience(&self, group: GroupId) -> &Audience {
        &self.deliveries[self.group(group).first as usize].audience
    }

    /// Goes on with the fan-out until it is over or `budget` writes are used up; `true` if it is
    /// over. Connections that fail are added to `due`, and get nothing more.
    pub(super) fn fan_out<S: Socket>(
        &mut self,
        table: &mut Table<S>,
        post: &mut Post<S>,
        due: &mut DueQueue,
        budget: &mut usize,
    ) -> bool {
        while self.cursor != Cursor::Collecting {
            if *budget == 0 {
                return false;
            }
            match self.next_recipient(table) {
                Some(slot) => {
                    self.selection.send(slot, table, post, due);
                    *budget -= 1;
                    post.charge_bytes(budget);
                }
                None => self.pass_over(budget),
            }
        }
        true
    }

    /// Selects what the next connection of the plan gets; `None` where it is to get nothing.
    fn next_recipient<S>(&mut self, table: &mut Table<S>) -> Option<ConnSlot> {
        let slot = match self.cursor {
            Cursor::Collecting => return None,
            Cursor::Planned { at } => match self.plan.get(at).copied() {
                Some(Step { slot, group }) => {
                    self.cursor = Cursor::Planned { at: at + 1 };
                    self.select_group(group);
                    slot
                }
                None => {
                    self.cursor = Cursor::Mixed { at: 0 };
                    return None;
                }
            },
            Cursor::Mixed { at } => match self.mixed.get(at).copied() {
                Some(Step { slot, .. }) => {
                    self.cursor = Cursor::Mixed { at: self.end_of_mixed(at) };
                    self.select_mixed(at, table.get(slot)?.id);
                    slot
                }
                None => {
                    self.finish();
                    return None;
                }
            },
        };
        if self.lane == Lane::Sweep {
            // It was settled, and the slot may be another connection's by now.
            if !self.is_marked(slot, table) {
                return None;
            }
            table.get_mut(slot)?.marks[self.lane as usize] = Mark::default();
        }
        (!self.selection.is_empty()).then_some(slot)
    }

    /// Walking is work, too: so many steps count as one write.
    fn pass_over(&mut self, budget: &mut usize) {
        self.passed_over += 1;
        if self.passed_over == STEPS_PER_WRITE {
            self.passed_over = 0;
            *budget -= 1;
        }
    }

    #[inline]
    fn select_group(&mut self, group: GroupId) {
        if self.selected != Some(group) {
            self.select_other_group(group);
        }
    }

    // Apart, for it is called once for a whole room.
    #[inline(never)]
    fn select_other_group(&mut self, group: GroupId) {
        self.selected = Some(group);
        self.selection.indices.clear();
        self.add_group(group);
        self.selection.join(&self.deliveries);
    }

    /// The index behind the last group of the mixed connection whose first stands at `start`.
    fn end_of_mixed(&self, start: usize) -> usize {
        let slot = self.mixed[start].slot;
        start + self.mixed[start..].iter().take_while(|other| other.slot == slot).count()
    }

    /// Selects what the groups of the mixed connection whose first stands at `start` bring it.
    fn select_mixed(&mut self, start: usize, id: ConnKey) {
        self.selected = None;
        self.selection.indices.clear();
        for at in start..self.end_of_mixed(start) {
            self.add_group(self.mixed[at].group);
        }
        self.selection.pass_by(id, &self.deliveries);
        self.selection.indices.sort_unstable();
        self.selection.join(&self.deliveries);
    }

    fn add_group(&mut self, group: GroupId) {
        let mut index = self.group(group).first;
        while index != END {
            self.selection.indices.push(index);
            index = self.next[index as usize];
        }
    }

    pub(super) fn finish(&mut self) {
        if self.has_followers {
            self.answer_followers();
        }
        self.stamp += 1;
        self.cursor = Cursor::Collecting;
        self.deliveries.clear();
        self.next.clear();
        self.groups.clear();
        self.plan.clear();
        self.mixed.clear();
        self.selected = None;
        self.selection.clear();
        self.everyone = None;
        self.has_unions = false;
        self.has_exceptions = false;
        self.has_followers = false;
        self.bytes = 0;
        self.reach = 0;
    }
}

/// Which group of a turn a delivery belongs to.
enum Belongs {
    /// To none: it reaches nobody.
    Nowhere,
    /// To this one.
    To(GroupId),
    /// To a new one.
    ToNew,
}

/// What a turn does with a recipient of a group.
enum Place {
    /// It gets the group's burst.
    Planned,
    /// It has that in the plan already.
    PlannedBefore,
    /// It needs a selection of its own.
    Mixed,
}
