//! The fan-out of a turn: the plan is worked off in slices.

use super::{Cursor, END, Lane, Step, Turn};
use crate::engine::link::ConnKey;
use crate::engine::shard::STEPS_PER_WRITE;
use crate::engine::shard::conn_slot::ConnSlot;
use crate::engine::shard::ending::DueQueue;
use crate::engine::shard::send_context::SendContext;
use crate::engine::shard::table::{GroupId, Mark, Table};
use crate::engine::socket::Socket;

impl Turn {
    /// Goes on with the fan-out until it is over or `budget` writes are used up; `true` if it is
    /// over. Connections that fail are added to `due`, and get nothing more.
    pub(in crate::engine::shard) fn fan_out<S: Socket>(
        &mut self,
        table: &mut Table<S>,
        ctx: &mut SendContext<S>,
        due: &mut DueQueue,
        budget: &mut usize,
    ) -> bool {
        while self.cursor != Cursor::Collecting {
            if *budget == 0 {
                return false;
            }
            match self.next_recipient(table) {
                Some(slot) => {
                    self.selection.send(slot, table, ctx, due);
                    *budget -= 1;
                    ctx.charge_bytes(budget);
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
    pub(super) fn select_group(&mut self, group: GroupId) {
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
    pub(super) fn select_mixed(&mut self, start: usize, id: ConnKey) {
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
}
