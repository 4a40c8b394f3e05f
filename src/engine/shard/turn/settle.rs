//! Settling: a connection that is about to end gets at once all that the turn has for it, plain.
//!
//! The numbers of invariants are those of [`turn`](super).

use std::mem;

use super::{Cursor, MIXED, PLANNED, Step, Turn};
use crate::engine::command::Audience;
use crate::engine::shard::audience::concerns;
use crate::engine::shard::compressing::Coding;
use crate::engine::shard::conn_slot::ConnSlot;
use crate::engine::shard::ending::DueQueue;
use crate::engine::shard::selection::{DeliveryIndex, TurnParts};
use crate::engine::shard::send_context::SendContext;
use crate::engine::shard::table::{Mark, Members, Table};
use crate::engine::socket::Socket;

impl Turn {
    /// Whether a delivery of this turn may be for the connection.
    fn reaches<S>(&self, slot: ConnSlot, table: &Table<S>) -> bool {
        let lane = self.lane as usize;
        let is_marked = |members: &Members| members.marks[lane].group_in(self.stamp).is_some();
        self.everyone.is_some()
            || self.has_unions
            || self.is_marked(slot, table)
            || table.any_room(slot, is_marked)
    }

    /// Gives a connection that is about to end all that this turn has for it (invariant 4). Returns
    /// the number of deliveries that were looked at.
    pub(in crate::engine::shard) fn settle<S: Socket>(
        &mut self,
        slot: ConnSlot,
        table: &mut Table<S>,
        ctx: &mut SendContext<S>,
        due: &mut DueQueue,
    ) -> usize {
        mem::swap(&mut self.selection, &mut self.settling);
        let selected = self.selected.take();
        let is_selected = match self.cursor {
            Cursor::Collecting => self.select_collected(slot, table),
            _ => self.select_planned(slot, table),
        };
        self.selected = selected;
        mem::swap(&mut self.selection, &mut self.settling);
        if !is_selected {
            return 0;
        }
        if !self.settling.is_empty() {
            self.settling.coding = Coding::Plain;
            let Self { settling, deliveries, forms, .. } = self;
            settling.send(TurnParts { deliveries, forms }, slot, table, ctx, due);
        }
        if let Some(entry) = table.get_mut(slot) {
            // Invariant 4.
            entry.marks[self.lane as usize] = Mark::default();
        }
        self.len()
    }

    /// Selects the collected deliveries for a connection. Those to this connection alone lose their
    /// audience; the shard itself takes the connection out of its rooms. `false` if there is
    /// nothing for it.
    fn select_collected<S>(&mut self, slot: ConnSlot, table: &Table<S>) -> bool {
        if self.is_empty() || !self.reaches(slot, table) {
            return false;
        }
        self.selection.indices.clear();
        for (index, delivery) in self.deliveries.iter_mut().enumerate() {
            if concerns(delivery, slot, table) {
                self.selection.indices.push(index as DeliveryIndex);
            }
            if matches!(&delivery.audience, Audience::Conn(id) if table.slot(*id) == Some(slot)) {
                delivery.audience = Audience::nobody();
            }
        }
        self.selection.join(&self.deliveries);
        true
    }

    /// Selects what is planned for a connection and not yet written; `false` if that is nothing.
    fn select_planned<S>(&mut self, slot: ConnSlot, table: &Table<S>) -> bool {
        let Some(entry) = table.get(slot) else { return false };
        match entry.marks[self.lane as usize].group_in(self.stamp) {
            None => return false,
            Some(MIXED) => {
                let start = self.mixed.partition_point(|step| step.slot < slot);
                // An excepted connection has this mark even if no audience of the turn contains it.
                if self.mixed.get(start).is_none_or(|step| step.slot != slot) {
                    return false;
                }
                self.select_mixed(start, entry.id);
            }
            Some(PLANNED) => {
                let planned = self.plan.iter().find(|step| step.slot == slot);
                let Some(&Step { group, .. }) = planned else { return false };
                self.select_group(group);
            }
            Some(group) => self.select_group(group),
        }
        true
    }
}
