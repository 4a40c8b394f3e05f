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

mod fan_out;
mod planning;
mod settle;

use std::iter;

use super::audience::size;
use super::conn_slot::ConnSlot;
use super::selection::{DeliveryIndex, Selection};
use super::table::{GroupId, Mark, Table};
use crate::engine::command::{Audience, Delivery};
use crate::engine::frame;
use crate::engine::link::ConnKey;
use crate::engine::room::Room;

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
const TURN_RECIPIENTS_MAX: usize = 256 * 1024;

/// Deliveries of one audience, as a chain through the turn's deliveries.
#[derive(Debug, Clone, Copy)]
struct Group {
    first: DeliveryIndex,
    last: DeliveryIndex,
    /// Of its frames.
    bytes: usize,
    /// Recipients.
    recipients: usize,
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
    recipients: usize,
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
            recipients: 0,
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
    pub(super) fn would_overfill<S>(&self, delivery: &Delivery, table: &Table<S>) -> bool {
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
            None => self.recipients + size(&delivery.audience, table) > TURN_RECIPIENTS_MAX,
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
                let recipients = size(&delivery.audience, table);
                self.groups.push(Group { first: index, last: index, bytes, recipients });
                self.recipients += recipients;
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
    fn reply_to_followers(&mut self) {
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
        self.groups.iter().map(|group| group.bytes.saturating_mul(group.recipients)).sum()
    }

    /// Moves what has been collected to a turn of another lane that has nothing to deliver.
    pub(super) fn hand_over<S>(&mut self, other: &mut Self, table: &mut Table<S>) {
        for delivery in self.deliveries.drain(..) {
            // It reached somebody when it was added; who has ended since needs it no more.
            let _ = other.add(delivery, table);
        }
        // The other turn tells those that follow the deliveries.
        self.has_followers = false;
        self.finish();
    }

    fn audience(&self, group: GroupId) -> &Audience {
        &self.deliveries[self.group(group).first as usize].audience
    }

    pub(super) fn finish(&mut self) {
        if self.has_followers {
            self.reply_to_followers();
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
        self.recipients = 0;
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
