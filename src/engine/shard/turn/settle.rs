//! What a turn has for one connection, at once: the connection is about to end.

use super::{Cursor, MIXED, PLANNED, Step, Turn};
use crate::engine::command::Audience;
use crate::engine::shard::audience::concerns;
use crate::engine::shard::conn_slot::ConnSlot;
use crate::engine::shard::ending::DueQueue;
use crate::engine::shard::selection::DeliveryIndex;
use crate::engine::shard::send_context::SendContext;
use crate::engine::shard::table::{Mark, Members, Table};
use crate::engine::socket::Socket;

impl Turn {
    /// Whether anything in this turn may be for the connection.
    fn reaches<S>(&self, slot: ConnSlot, table: &Table<S>) -> bool {
        let lane = self.lane as usize;
        let is_marked = |members: &Members| members.marks[lane].group_in(self.stamp).is_some();
        self.everyone.is_some()
            || self.has_unions
            || self.is_marked(slot, table)
            || table.any_room(slot, is_marked)
    }

    /// Gives a connection that is about to end what this turn has for it, now. Later on, the turn
    /// passes it by. Returns how many deliveries it has looked at.
    pub(in crate::engine::shard) fn settle<S: Socket>(
        &mut self,
        slot: ConnSlot,
        table: &mut Table<S>,
        ctx: &mut SendContext<S>,
        due: &mut DueQueue,
    ) -> usize {
        let is_selected = match self.cursor {
            Cursor::Collecting => self.select_collected(slot, table),
            _ => self.select_planned(slot, table),
        };
        if !is_selected {
            return 0;
        }
        if !self.selection.is_empty() {
            self.selection.send(slot, table, ctx, due);
        }
        if let Some(entry) = table.get_mut(slot) {
            entry.marks[self.lane as usize] = Mark::default();
        }
        self.len()
    }

    /// Selects what has been collected for a connection, and takes what is for it alone out of the turn:
    /// from its rooms the shard will take it. `false` if there is nothing.
    fn select_collected<S>(&mut self, slot: ConnSlot, table: &Table<S>) -> bool {
        if self.is_empty() || !self.reaches(slot, table) {
            return false;
        }
        self.selected = None;
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

    /// Selects what is planned for a connection and has not been served; `false` if there is nothing.
    fn select_planned<S>(&mut self, slot: ConnSlot, table: &Table<S>) -> bool {
        let Some(entry) = table.get(slot) else { return false };
        match entry.marks[self.lane as usize].group_in(self.stamp) {
            None => return false,
            Some(MIXED) => {
                let start = self.mixed.partition_point(|step| step.slot < slot);
                // Who is excepted has the mark even if no audience of the turn has it.
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
