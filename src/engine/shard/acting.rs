//! Actions on many connections at once: they are closed, join a room or leave it.
//!
//! A close first takes the connections out of their rooms, which is as fast as a join. The close
//! frames, one write each, follow in slices between the turns.
//!
//! # Invariants
//!
//! 1. An action takes effect in the order of the inbox. It runs in slices, and nothing behind it is
//!    taken from the inbox before it is finished, so each later delivery sees the whole change.
//!    Meanwhile the sweep continues. Blocked sockets are not flushed: `Writable` waits in the
//!    inbox.
//! 2. The slots are noted when the action begins, and no slot is reused during the action: only an
//!    `Attach` reuses one, and an `Attach` comes from the inbox. Connections that end meanwhile are
//!    passed over.

use super::audience::for_each;
use super::conn_slot::ConnSlot;
use super::{STEPS_PER_WRITE, Shard};
use crate::engine::close::DisconnectReason;
use crate::engine::command::{Act, Audience, Change, Except};
use crate::engine::link::Stage;
use crate::engine::socket::Socket;

/// The number of joins, leaves or withdrawals that count as one write: each takes 0.1 to 0.6 µs.
const MOVES_PER_WRITE: usize = 8;

/// An action that has begun.
pub(super) struct OngoingAct {
    /// The connections still to act on; the last one is next (invariant 2).
    remaining: Vec<ConnSlot>,
    except: Except,
    change: Change,
    /// Moves that were not charged to a budget yet.
    moves: usize,
}

impl<S: Socket> Shard<S> {
    /// Whether the collected deliveries must be written before an action.
    pub(super) fn must_act_wait(&self, act: &Act) -> bool {
        match &act.change {
            Change::Join(room) | Change::Leave(room) => {
                self.turn.touches(room, &self.table) || self.sweep.touches(room, &self.table)
            }
            // Each connection that ends is settled: it gets at once what the turn has for it. For
            // many connections, writing the turn first is cheaper.
            Change::Close(_) => !self.turn.is_empty() && !matches!(act.audience, Audience::Conn(_)),
        }
    }

    /// Begins an action, and continues it as far as the budget reaches.
    pub(super) fn begin_act(&mut self, act: Act, budget: &mut usize) {
        let Act { audience, except, change } = act;
        let mut remaining = Vec::new();
        for_each(&audience, &mut self.table, |slot, _| remaining.push(slot));
        if matches!(audience, Audience::Rooms(_)) {
            remaining.sort_unstable();
            remaining.dedup();
        }
        *budget = budget.saturating_sub(remaining.len() / STEPS_PER_WRITE);
        self.ongoing_act = Some(OngoingAct { remaining, except, change, moves: 0 });
        self.continue_act(budget);
    }

    /// Continues the action that has begun; `false` if the budget is used up first.
    pub(super) fn continue_act(&mut self, budget: &mut usize) -> bool {
        while let Some(mut act) = self.ongoing_act.take() {
            let Some(slot) = act.remaining.pop() else {
                self.finish_act(act.change);
                break;
            };
            if *budget == 0 {
                act.remaining.push(slot);
                self.ongoing_act = Some(act);
                return false;
            }
            self.act_on(slot, &mut act, budget);
            self.ongoing_act = Some(act);
        }
        true
    }

    fn act_on(&mut self, slot: ConnSlot, act: &mut OngoingAct, budget: &mut usize) {
        act.moves += 1;
        if act.moves == MOVES_PER_WRITE {
            act.moves = 0;
            *budget = budget.saturating_sub(1);
        }
        let open = self.table.get(slot).filter(|entry| entry.stage == Stage::Open);
        let Some(id) = open.map(|entry| entry.id).filter(|&id| !act.except.passes_by(id)) else {
            return;
        };
        match &act.change {
            Change::Close(close) => {
                // The connection is settled first: what the sweep owes it costs a write.
                let writes = usize::from(self.sweep.owes(slot, &self.table));
                *budget = budget.saturating_sub(writes);
                let reason = DisconnectReason::ClosedByServer((**close).clone());
                let withdrawn = self.withdraw(id, reason).map(|_| id);
                self.withdrawn.extend(withdrawn);
                self.charge_settling(budget);
            }
            Change::Join(room) => {
                let rooms_max = self.ctx.port.rooms_per_conn();
                if !self.table.enter(slot, room, rooms_max) {
                    self.ctx.port.counters().join_refusals.add(1);
                }
            }
            Change::Leave(room) => self.table.expel(slot, room),
        }
    }

    fn finish_act(&mut self, change: Change) {
        if let Change::Join(room) = change {
            self.table.release(&room);
            room.finish_leaving();
        }
    }
}
