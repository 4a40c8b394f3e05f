//! The plan of a turn: which recipients get the burst of one group, and which are mixed.
//!
//! The numbers of invariants are those of [`turn`](super).

use std::mem;

use super::{Cursor, Lane, MIXED, PLANNED, Step, Turn, chain};
use crate::engine::command::Audience;
use crate::engine::shard::audience::{for_each, inflating, stream};
use crate::engine::shard::compressing::{Coding, Compressing, DeliveryForms};
use crate::engine::shard::conn_slot::ConnSlot;
use crate::engine::shard::table::{GroupId, Mark, Table};

impl Turn {
    /// Starts the fan-out: plans which frames each recipient gets.
    pub(in crate::engine::shard) fn begin<S>(
        &mut self,
        table: &mut Table<S>,
        compressing: Option<&mut Compressing>,
    ) {
        if let Some(compressing) = compressing {
            self.plan_coding(table, compressing);
        }
        if self.has_exceptions {
            self.mark_excepted(table);
        }
        // In a sweep, the marks also say which connections still have to be served (invariant 4).
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
                Place::AlreadyPlanned => {}
            });
        }
        mixed.sort_unstable();
        mixed.dedup();
        (self.plan, self.mixed) = (plan, mixed);
        self.cursor = Cursor::Planned { at: 0 };
    }

    /// Decides how the deliveries may be compressed.
    fn plan_coding<S>(&mut self, table: &mut Table<S>, compressing: &mut Compressing) {
        for at in 0..self.groups.len() {
            let first = self.groups[at].first as usize;
            let may_compress =
                |index: usize| Compressing::may_compress(&self.deliveries[index].frames);
            if !chain(&self.groups[at], &self.next).any(may_compress) {
                continue;
            }
            let coding = match &self.deliveries[first].audience {
                Audience::Conn(_) => compressing.coding_of_one(),
                audience => compressing.coding(inflating(audience, table), stream(audience, table)),
            };
            self.groups[at].coding = coding;
            if coding == Coding::Plain {
                continue;
            }
            self.forms.resize_with(self.deliveries.len(), DeliveryForms::default);
            for index in chain(&self.groups[at], &self.next) {
                let may_compress = Compressing::may_compress(&self.deliveries[index].frames);
                self.forms[index].may_compress = may_compress;
            }
        }
    }

    /// Whether the turn still has to serve a connection. For the lane of sweeps only.
    pub(in crate::engine::shard) fn owes<S>(&self, slot: ConnSlot, table: &Table<S>) -> bool {
        self.cursor != Cursor::Collecting && self.is_marked(slot, table)
    }

    pub(super) fn is_marked<S>(&self, slot: ConnSlot, table: &Table<S>) -> bool {
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
        let Some(entry) = table.get_mut(slot) else { return Place::AlreadyPlanned };
        let mark = &mut entry.marks[self.lane as usize];
        match mark.group_in(self.stamp) {
            None => Place::Planned,
            Some(MIXED) => Place::Mixed,
            Some(PLANNED) => Place::AlreadyPlanned,
            Some(_) => {
                if self.has_unions {
                    *mark = Mark::new(self.stamp, PLANNED);
                }
                Place::Planned
            }
        }
    }
}

/// How a recipient of a group is served.
enum Place {
    /// It gets the group's burst.
    Planned,
    /// The plan has it already.
    AlreadyPlanned,
    /// It is mixed.
    Mixed,
}
