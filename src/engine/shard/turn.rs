//! One turn of a shard: a batch of deliveries, written to each recipient in as few writes as the
//! order of its messages allows.
//!
//! Deliveries to one audience form a *group*. The frames of a group are joined into bursts of
//! at most 128 KiB, and each recipient of the group gets these bursts. A connection that several
//! groups reach, or that a delivery excepts, is *mixed*: it gets its own selection of frames, after
//! all groups were written.
//!
//! A turn has four phases: it collects deliveries ([`add`](Turn::add)), plans who gets which frames
//! ([`begin`](Turn::begin)), writes in slices ([`fan_out`](Turn::fan_out)), and is emptied
//! ([`finish`](Turn::finish)).
//!
//! # Invariants
//!
//! 1. Deliveries are added only while the cursor is [`Collecting`](Cursor::Collecting). Between
//!    `begin` and `finish` the deliveries, the groups and the plan do not change.
//! 2. A connection gets its frames in the order of the inbox. If one group reaches it, it gets the
//!    bursts of that group, in order, and nothing else. So it cannot see in which order the groups
//!    are written. If it is mixed, its selection is sorted by the index of the delivery.
//! 3. A delivery goes to those who were members when it left the inbox. A command that changes the
//!    members of an audience of the turn waits until the turn has been planned
//!    ([`touches`](Turn::touches); the shard asks). From then on the plan does not depend on the
//!    members.
//! 4. A connection that ends is [settled](Turn::settle) first: it gets at once all that the turn
//!    has for it, and the turn sends nothing to it later.
//!    - While the turn collects: the shard then takes the connection out of its rooms, and a
//!      delivery to that connection alone gets an empty audience.
//!    - After the turn was planned, which happens in the lane [`Sweep`](Lane::Sweep) alone: the
//!      connection loses its mark, and the fan-out passes over entries without a mark.
//! 5. A [`Mark`] counts only in the turn whose stamp it carries, and each [`Lane`] has marks of its
//!    own. `finish` takes the next stamp, so that all marks are void without a walk.
//! 6. `next[i]` belongs to `deliveries[i]`. The chain of a group has ascending indices and ends
//!    with [`END`].

mod fan_out;
mod planning;
mod settle;

use std::iter;

use super::audience::size;
use super::compressing::{Coding, DeliveryForms};
use super::conn_slot::ConnSlot;
use super::selection::{DeliveryIndex, Selection};
use super::table::{GroupId, Mark, Table};
use crate::engine::command::{Audience, Delivery};
use crate::engine::frame;
use crate::engine::link::ConnKey;
use crate::engine::room::Room;

/// The mark of a mixed connection.
const MIXED: GroupId = GroupId(Mark::GROUPS - 1);

/// The mark of a connection that is in the plan already, in a turn with a union: the connection may
/// appear again in another room.
const PLANNED: GroupId = GroupId(Mark::GROUPS - 2);

/// The end of the chain of a group.
const END: DeliveryIndex = DeliveryIndex::MAX;

/// The most deliveries in a turn: enough to join the bursts of a thousand busy rooms. The batch
/// then takes 320 KiB.
pub(super) const TURN_DELIVERIES_MAX: usize = 4_096;

/// Each delivery may form a group of its own, and the ids of groups must not reach the two special
/// marks.
const _: () = assert!(TURN_DELIVERIES_MAX <= PLANNED.0 as usize);

/// The most bytes of frames in a turn; the last delivery may exceed them.
pub(super) const TURN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most recipients of a turn, summed over its groups; a single group may have more. Marking
/// recipients is not split into slices, and each may become mixed: at this bound about 2 ms and 2
/// MiB.
const TURN_RECIPIENTS_MAX: usize = 256 * 1024;

/// The deliveries to one audience, as a chain through the turn's deliveries.
#[derive(Debug, Clone, Copy)]
struct Group {
    first: DeliveryIndex,
    last: DeliveryIndex,
    /// The bytes of its frames.
    bytes: usize,
    /// The number of recipients.
    recipients: usize,
    coding: Coding,
}

/// A connection and a group that reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    slot: ConnSlot,
    group: GroupId,
}

/// The phase of the turn, and the next entry of the fan-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cursor {
    /// The turn collects deliveries.
    Collecting,
    /// The entry `at` of the plan is next.
    Planned { at: usize },
    /// The plan is written. The entry `at` of the mixed connections is next.
    Mixed { at: usize },
    /// All is written, or in the batch.
    Ended,
}

/// Selects the marks that a turn uses: each connection and each room has one per lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Lane {
    /// Deliveries to small audiences, one turn after the other.
    Direct,
    /// Deliveries to large audiences: the turn is written between the direct turns.
    Sweep,
}

/// The state of a turn. Its buffers are kept from turn to turn.
pub(super) struct Turn {
    lane: Lane,
    stamp: u64,
    cursor: Cursor,
    deliveries: Vec<Delivery>,
    /// The compressed forms of each delivery. Empty if no delivery is compressed.
    forms: Vec<DeliveryForms>,
    /// The index of the next delivery of the same group, or [`END`], for each delivery.
    next: Vec<DeliveryIndex>,
    groups: Vec<Group>,
    everyone: Option<GroupId>,
    has_unions: bool,
    has_exceptions: bool,
    has_followers: bool,
    bytes: usize,
    /// The most bytes of one group's frames: half of a send queue. One larger frame may still form
    /// a group. A burst that fills a whole send queue would evict a client that is slow for only a
    /// moment.
    group_bytes_max: usize,
    /// The number of recipients, summed over all groups.
    recipients: usize,
    /// The connections that one group reaches, group by group.
    plan: Vec<Step>,
    /// The mixed connections, with an entry for each group that reaches them; sorted.
    mixed: Vec<Step>,
    /// The group whose burst the selection holds.
    selected: Option<GroupId>,
    selection: Selection,
    /// The selection of connections that are settled. It leaves that of the fan-out as it is.
    settling: Selection,
    /// Entries that were passed over and not charged to a budget yet.
    passed_over: usize,
}

impl Turn {
    /// A turn without deliveries. Its bursts fit into a send queue of `queue_bytes`.
    pub(super) fn new(lane: Lane, queue_bytes: usize) -> Self {
        Self {
            lane,
            // Entries that were never marked carry the stamp 0 (invariant 5).
            stamp: 1,
            cursor: Cursor::Collecting,
            deliveries: Vec::new(),
            forms: Vec::new(),
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
            settling: Selection::new(queue_bytes),
            passed_over: 0,
        }
    }

    /// The number of deliveries.
    pub(super) fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether the turn has no deliveries.
    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Whether the turn should be written before more is added.
    pub(super) fn is_full(&self) -> bool {
        self.deliveries.len() >= TURN_DELIVERIES_MAX || self.bytes >= TURN_BYTES_MAX
    }

    /// Whether the delivery would bring too many recipients into the turn, or too many bytes to
    /// those of its group.
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

    /// Whether a delivery of this turn depends on the members of `room` (invariant 3).
    pub(super) fn touches<S>(&self, room: &Room, table: &Table<S>) -> bool {
        self.has_unions || self.group_of_room(room, table).is_some()
    }

    fn group_of_room<S>(&self, room: &Room, table: &Table<S>) -> Option<GroupId> {
        table.members(room)?.marks[self.lane as usize].group_in(self.stamp)
    }

    /// Whether a delivery of this turn would reach a new connection (invariant 3).
    pub(super) fn touches_everyone(&self) -> bool {
        self.everyone.is_some()
    }

    /// Adds a delivery.
    ///
    /// # Errors
    /// Gives the delivery back if it reaches nobody in this shard.
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
                let coding = Coding::Plain;
                self.groups.push(Group { first: index, last: index, bytes, recipients, coding });
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

    /// Returns the group that the delivery belongs to. A new group is noted where the next delivery
    /// to the same audience looks for it.
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
                    // `begin` finds out whether other groups reach the connection as well.
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

    /// Reports to the followers of each delivery that it is written or queued, with the number of
    /// messages in its group. If these are small, they left as one burst.
    fn reply_to_followers(&mut self) {
        for group in &self.groups {
            let chain = chain(group, &self.next);
            let frames = |index: usize| &self.deliveries[index].frames;
            let messages = chain.clone().map(|index| frame::count(frames(index))).sum();
            chain.for_each(|index| self.deliveries[index].answer(messages));
        }
    }

    /// The last group, if its audience is this connection: consecutive direct sends are joined.
    /// Direct sends that are not consecutive form several groups and make the connection mixed,
    /// which joins their frames as well.
    fn last_group_to(&self, id: ConnKey) -> Option<GroupId> {
        let last = GroupId(self.groups.len().checked_sub(1)? as u32);
        let is_same = matches!(self.audience(last), Audience::Conn(to) if *to == id);
        is_same.then_some(last)
    }

    /// The bytes that the turn will write, summed over all recipients.
    pub(super) fn cost(&self) -> usize {
        self.groups.iter().map(|group| group.bytes.saturating_mul(group.recipients)).sum()
    }

    /// Moves the collected deliveries to `other`, an empty turn of another lane.
    pub(super) fn hand_over<S>(&mut self, other: &mut Self, table: &mut Table<S>) {
        for delivery in self.deliveries.drain(..) {
            // The delivery had recipients when it was added. If all of them have ended since, they
            // were settled.
            let _ = other.add(delivery, table);
        }
        // `other` reports to the followers of these deliveries.
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
        // Invariant 5.
        self.stamp += 1;
        self.cursor = Cursor::Collecting;
        self.deliveries.clear();
        self.forms.clear();
        self.next.clear();
        self.groups.clear();
        self.plan.clear();
        self.mixed.clear();
        self.selected = None;
        self.selection.clear();
        self.settling.clear();
        self.everyone = None;
        self.has_unions = false;
        self.has_exceptions = false;
        self.has_followers = false;
        self.bytes = 0;
        self.recipients = 0;
    }
}

/// The indices of the deliveries of a group (invariant 6).
fn chain<'n>(
    group: &Group,
    next: &'n [DeliveryIndex],
) -> impl Iterator<Item = usize> + Clone + use<'n> {
    let next = |index: &DeliveryIndex| Some(next[*index as usize]).filter(|next| *next != END);
    iter::successors(Some(group.first), next).map(|index| index as usize)
}

/// The group of a turn that a delivery belongs to.
enum Belongs {
    /// The delivery reaches nobody.
    Nowhere,
    /// An existing group.
    To(GroupId),
    /// A new group.
    ToNew,
}
