//! Actions on many connections at once: they end, enter a room or leave it.
//!
//! An action has its place in the order of the inbox. It is worked off in slices, and nothing behind it is
//! taken from the inbox before it is over, so that every delivery behind it sees all of it. Meanwhile the
//! sweep goes on, and what waits in send queues leaves.
//!
//! A close first takes the connections out of their rooms, which is as quick as a move. The close frames, one
//! write each, follow in slices between the turns of others.
//!
//! The slots are noted when the action begins. Only an `Attach` from the inbox can reuse a slot, and nothing is
//! taken from the inbox meanwhile. Connections that end meanwhile are passed over.

use super::audience::for_each;
use super::conn_slot::ConnSlot;
use super::{STEPS_PER_WRITE, Shard};
use crate::engine::close::DisconnectReason;
use crate::engine::command::{Act, Audience, Change, Except};
use crate::engine::link::Stage;
use crate::engine::socket::Socket;

/// Joins, leaves or withdrawals that count as one write: each takes 0.1 to 0.6 µs.
const MOVES_PER_WRITE: usize = 8;

/// An action that has begun.
pub(super) struct Acting {
    /// Those to whom it has still to happen; the last one is next.
    left: Vec<ConnSlot>,
    except: Except,
    change: Change,
    /// Moves that were not charged to a budget yet.
    moves: usize,
}

impl<S: Socket> Shard<S> {
    /// Whether deliveries that were collected must go before an action.
    pub(super) fn must_act_wait(&self, act: &Act) -> bool {
        match &act.change {
            Change::Join(room) | Change::Leave(room) => {
                self.turn.touches(room, &self.table) || self.sweep.touches(room, &self.table)
            }
            // Each that ends is given first what the turn has for it. If many end, the turn itself is the
            // cheaper way.
            Change::Close(_) => !self.turn.is_empty() && !matches!(act.audience, Audience::Conn(_)),
        }
    }

    /// Begins an action, and works on it as far as the budget reaches.
    pub(super) fn begin_acting(&mut self, act: Act, budget: &mut usize) {
        let Act { audience, except, change } = act;
        let mut left = Vec::new();
        for_each(&audience, &mut self.table, |slot, _| left.push(slot));
        if matches!(audience, Audience::Rooms(_)) {
            left.sort_unstable();
            left.dedup();
        }
        *budget = budget.saturating_sub(left.len() / STEPS_PER_WRITE);
        self.acting = Some(Acting { left, except, change, moves: 0 });
        self.go_on_acting(budget);
    }

    /// Goes on with the action that has begun; `false` if the budget did not reach.
    pub(super) fn go_on_acting(&mut self, budget: &mut usize) -> bool {
        while let Some(mut acting) = self.acting.take() {
            let Some(slot) = acting.left.pop() else {
                self.finish_acting(acting.change);
                break;
            };
            if *budget == 0 {
                acting.left.push(slot);
                self.acting = Some(acting);
                return false;
            }
            self.act_on(slot, &mut acting, budget);
            self.acting = Some(acting);
        }
        true
    }

    fn act_on(&mut self, slot: ConnSlot, acting: &mut Acting, budget: &mut usize) {
        acting.moves += 1;
        if acting.moves == MOVES_PER_WRITE {
            acting.moves = 0;
            *budget = budget.saturating_sub(1);
        }
        let open = self.table.get(slot).filter(|entry| entry.stage == Stage::Open);
        let Some(id) = open.map(|entry| entry.id).filter(|&id| !acting.except.passes_by(id)) else {
            return;
        };
        match &acting.change {
            Change::Close(close) => {
                // What the sweep still owes it is written first.
                let writes = usize::from(self.sweep.owes(slot, &self.table));
                *budget = budget.saturating_sub(writes);
                let reason = DisconnectReason::ClosedByServer((**close).clone());
                let withdrawn = self.withdraw(id, reason).map(|_| id);
                self.parting.extend(withdrawn);
                self.charge_settling(budget);
            }
            Change::Join(room) => {
                let rooms_max = self.post.port.rooms_per_conn();
                if !self.table.enter(slot, room, rooms_max) {
                    self.post.port.counters().refused_joins.add(1);
                }
            }
            Change::Leave(room) => self.table.expel(slot, room),
        }
    }

    fn finish_acting(&mut self, change: Change) {
        if let Change::Join(room) = change {
            self.table.release(&room);
            room.finish_leaving();
        }
    }
}
