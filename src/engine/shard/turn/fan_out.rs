//! The fan-out of a turn: writes the plan, and then the mixed connections, in slices.
//!
//! The numbers of invariants are those of [`turn`](super).

use super::{Cursor, END, Lane, Step, Turn};
use crate::engine::link::ConnKey;
use crate::engine::shard::STEPS_PER_WRITE;
use crate::engine::shard::batch::Batch;
use crate::engine::shard::compressing::Coding;
use crate::engine::shard::conn_slot::ConnSlot;
use crate::engine::shard::ending::DueQueue;
use crate::engine::shard::selection::TurnParts;
use crate::engine::shard::send_context::SendContext;
use crate::engine::shard::table::{GroupId, Mark, Table};
use crate::engine::socket::Socket;

impl Turn {
    /// Continues the fan-out. `true` when the turn is finished, `false` when `budget` writes are
    /// used up first. A connection whose write fails is added to `due` and gets nothing more.
    pub(in crate::engine::shard) fn fan_out<S: Socket>(
        &mut self,
        table: &mut Table<S>,
        ctx: &mut SendContext<S>,
        mut batch: Option<&mut Batch<S>>,
        due: &mut DueQueue,
        budget: &mut usize,
    ) -> bool {
        if self.cursor == Cursor::Collecting {
            return true;
        }
        while self.cursor != Cursor::Ended && *budget > 0 {
            match self.next_recipient(table) {
                Some(slot) => {
                    self.send(slot, table, ctx, due, batch.as_deref_mut());
                    *budget -= 1;
                    ctx.charge_bytes(budget);
                }
                None => self.pass_over(budget),
            }
        }
        if let Some(batch) = batch {
            batch.write(table, ctx, due);
            ctx.charge_bytes(budget);
        }
        let is_over = self.cursor == Cursor::Ended;
        if is_over {
            self.finish();
        }
        is_over
    }

    #[inline]
    fn send<S: Socket>(
        &mut self,
        slot: ConnSlot,
        table: &mut Table<S>,
        ctx: &mut SendContext<S>,
        due: &mut DueQueue,
        batch: Option<&mut Batch<S>>,
    ) {
        let Self { selection, deliveries, forms, .. } = self;
        let parts = TurnParts { deliveries, forms };
        let Some(batch) = batch else {
            return selection.send(parts, slot, table, ctx, due);
        };
        selection.send_in_batch(parts, slot, table, (ctx, batch), due);
        if batch.is_full() {
            batch.write(table, ctx, due);
        }
    }

    /// Selects the frames of the next connection; `None` if this entry gets nothing, or the phase
    /// ends.
    fn next_recipient<S>(&mut self, table: &mut Table<S>) -> Option<ConnSlot> {
        let slot = match self.cursor {
            Cursor::Collecting | Cursor::Ended => return None,
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
                    self.cursor = Cursor::Ended;
                    return None;
                }
            },
        };
        if self.lane == Lane::Sweep {
            // Invariant 4: the connection was settled, and its slot may belong to another
            // connection by now.
            if !self.is_marked(slot, table) {
                return None;
            }
            table.get_mut(slot)?.marks[self.lane as usize] = Mark::default();
        }
        (!self.selection.is_empty()).then_some(slot)
    }

    /// Charges an entry that needed no write: [`STEPS_PER_WRITE`] entries count as one write.
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

    // Not inlined: it runs once for a whole group, `select_group` once for each recipient.
    #[inline(never)]
    fn select_other_group(&mut self, group: GroupId) {
        self.selected = Some(group);
        self.selection.coding = self.group(group).coding;
        self.selection.indices.clear();
        self.add_group(group);
        self.selection.join(&self.deliveries);
    }

    /// The index behind the last entry of the mixed connection whose first entry is at `start`.
    fn end_of_mixed(&self, start: usize) -> usize {
        let slot = self.mixed[start].slot;
        start + self.mixed[start..].iter().take_while(|other| other.slot == slot).count()
    }

    /// Selects the frames of all groups that reach the mixed connection whose first entry is at
    /// `start`.
    pub(super) fn select_mixed(&mut self, start: usize, id: ConnKey) {
        self.selected = None;
        self.selection.coding = self.coding_of_mixed();
        self.selection.indices.clear();
        for at in start..self.end_of_mixed(start) {
            self.add_group(self.mixed[at].group);
        }
        self.selection.pass_by(id, &self.deliveries);
        // Invariant 2: the groups were added one after the other.
        self.selection.indices.sort_unstable();
        self.selection.join(&self.deliveries);
    }

    /// How a selection of deliveries to several audiences may be compressed. It is no burst of a
    /// stream.
    fn coding_of_mixed(&self) -> Coding {
        if self.forms.is_empty() { Coding::Plain } else { Coding::Alone }
    }

    fn add_group(&mut self, group: GroupId) {
        let mut index = self.group(group).first;
        while index != END {
            self.selection.indices.push(index);
            index = self.next[index as usize];
        }
    }
}
