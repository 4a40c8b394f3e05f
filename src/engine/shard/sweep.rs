//! The sweep: fan-outs that are too large for a turn, written in slices between the turns.
//!
//! A fan-out to 100,000 members takes half a second of writes, and would delay all other deliveries
//! by as much. So deliveries to large audiences do not enter the direct turn. They wait here and
//! are written in rounds. Each round is a [`Turn`] of its own; between two direct turns it gets as
//! many writes as the last direct turn did, but at least 32. If the sweep is idle, a direct turn
//! with many bytes to write becomes a round as it is.
//!
//! # Invariants
//!
//! 1. Nothing overtakes: a delivery that reaches a connection to which the sweep still owes
//!    something joins the waiting deliveries, however small its audience is
//!    ([`takes`](Sweep::takes)). A direct turn is finished before the sweep goes on, so the
//!    deliveries of the sweep do not overtake those collected before them.
//! 2. A delivery goes to those who were members when it left the inbox. A command that changes the
//!    members of an audience of a waiting delivery is held until the round with that delivery has
//!    been planned. Nothing behind the command is taken meanwhile ([`touches`](Sweep::touches),
//!    [`touches_everyone`](Sweep::touches_everyone); the shard asks).
//! 3. Deliveries are numbered in the order in which they are added. Each room, each connection and
//!    the sweep itself (for everyone) hold the number of the last delivery to them. If that number
//!    is greater than `last_taken`, a delivery to them still waits.
//! 4. A waiting delivery keeps its reserved space in the inbox until a round takes it. So the
//!    bounds of the inbox also bound the waiting deliveries.
//! 5. A connection that ends is [settled](Sweep::settle) first: it gets at once what the round and
//!    the waiting deliveries have for it, and the sweep sends nothing to it later.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::audience::{any, concerns, size};
use super::batch::Batch;
use super::conn_slot::ConnSlot;
use super::ending::DueQueue;
use super::send_context::SendContext;
use super::sending::{Outgoing, send};
use super::table::Table;
use super::turn::{Lane, Turn};
use crate::engine::command::{Audience, Delivery};
use crate::engine::frame;
use crate::engine::room::Room;
use crate::engine::send_queue::{Amount, Burst};
use crate::engine::socket::Socket;

/// The waiting deliveries and the current round.
pub(super) struct Sweep {
    /// The number of recipients from which an audience is large.
    large_audience: usize,
    /// Deliveries for the next rounds.
    waiting: VecDeque<Delivery>,
    /// Space of deliveries that rounds have taken, still to be released in the inbox (invariant 4).
    begun: Amount,
    /// The numbers of the last delivery that was added, of the last one to everyone, and of the
    /// last one that a round has taken (invariant 3).
    last_added: u64,
    last_added_to_everyone: u64,
    last_taken: u64,
    round: Turn,
}

impl Sweep {
    /// A sweep without deliveries. It takes audiences of `large_audience` connections and more, and
    /// its bursts fit into a send queue of `queue_bytes`.
    pub(super) fn new(large_audience: usize, queue_bytes: usize) -> Self {
        Self {
            large_audience,
            waiting: VecDeque::new(),
            begun: Amount::default(),
            last_added: 0,
            last_added_to_everyone: 0,
            last_taken: 0,
            round: Turn::new(Lane::Sweep, queue_bytes),
        }
    }

    /// Whether there is nothing to deliver.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.round.is_empty()
    }

    /// Whether the sweep must deliver this: the audience is large, or the delivery would overtake
    /// (invariant 1).
    pub(super) fn takes<S>(&self, delivery: &Delivery, table: &Table<S>) -> bool {
        let audience = &delivery.audience;
        size(audience, table) >= self.large_audience
            || !self.is_idle() && any(audience, table, |slot| self.owes(slot, table))
    }

    /// Whether a waiting delivery depends on the members of `room` (invariant 2).
    pub(super) fn touches<S>(&self, room: &Room, table: &Table<S>) -> bool {
        table.members(room).is_some_and(|members| members.last_swept > self.last_taken)
    }

    /// Whether a waiting delivery would reach a new connection (invariant 2).
    pub(super) fn touches_everyone(&self) -> bool {
        self.last_added_to_everyone > self.last_taken
    }

    /// Whether the sweep still has something for the connection.
    pub(super) fn owes<S>(&self, slot: ConnSlot, table: &Table<S>) -> bool {
        !self.is_idle()
            && (self.round.owes(slot, table)
                || self.touches_everyone()
                || table.last_swept(slot) > self.last_taken)
    }

    /// Takes a collected direct turn and delivers it as a round. Only while the sweep is idle.
    pub(super) fn adopt<S>(
        &mut self,
        turn: &mut Turn,
        table: &mut Table<S>,
        ctx: &mut SendContext<S>,
    ) {
        debug_assert!(self.is_idle());
        turn.hand_over(&mut self.round, table);
        if self.round.is_empty() {
            self.round.finish();
        } else {
            self.round.begin(table, ctx.compressing.as_mut());
        }
    }

    /// Adds a delivery that the sweep [`takes`](Self::takes), for the next round.
    pub(super) fn add<S>(&mut self, mut delivery: Delivery, table: &mut Table<S>) {
        drop_empty_rooms(&mut delivery.audience, table);
        self.last_added += 1;
        match &delivery.audience {
            Audience::Everyone => self.last_added_to_everyone = self.last_added,
            Audience::Room(room) => self.note_waiting(room, table),
            Audience::Rooms(rooms) => rooms.iter().for_each(|room| self.note_waiting(room, table)),
            Audience::Conn(id) => {
                if let Some(entry) = table.slot(*id).and_then(|slot| table.get_mut(slot)) {
                    entry.last_swept = self.last_added;
                }
            }
        }
        self.waiting.push_back(delivery);
    }

    /// Gives a connection that is about to end all that the sweep has for it (invariant 5). The
    /// caller then takes the connection out of its rooms. Returns the number of deliveries that
    /// were looked at.
    pub(super) fn settle<S: Socket>(
        &mut self,
        slot: ConnSlot,
        table: &mut Table<S>,
        ctx: &mut SendContext<S>,
        due: &mut DueQueue,
    ) -> usize {
        let steps = self.round.settle(slot, table, ctx, due);
        if !self.touches_everyone() && table.last_swept(slot) <= self.last_taken {
            return steps;
        }
        let Some(id) = table.get(slot).map(|entry| entry.id) else { return steps };
        for delivery in &mut self.waiting {
            if !concerns(delivery, slot, table) {
                continue;
            }
            let frames = Bytes::clone(&delivery.frames);
            let burst = Burst { messages: frame::count(&frames), frames };
            if let Some(entry) = table.get_mut(slot) {
                send(Outgoing::plain(&burst), slot, entry, ctx, due);
            }
            if matches!(delivery.audience, Audience::Conn(to) if to == id) {
                delivery.audience = Audience::nobody();
            }
        }
        steps + self.waiting.len()
    }

    /// Takes the space of the deliveries that rounds have taken since the last call.
    pub(super) fn take_begun(&mut self) -> Amount {
        std::mem::take(&mut self.begun)
    }

    /// Delivers until nothing is left or `budget` writes are used up; `true` if a round was
    /// finished. Call it between direct turns only. A connection whose write fails is added to
    /// `due` and gets nothing more.
    pub(super) fn advance<S: Socket>(
        &mut self,
        table: &mut Table<S>,
        ctx: &mut SendContext<S>,
        mut batch: Option<&mut Batch<S>>,
        due: &mut DueQueue,
        budget: &mut usize,
    ) -> bool {
        let mut has_finished_round = false;
        while self.round.fan_out(table, ctx, batch.as_deref_mut(), due, budget) {
            has_finished_round = true;
            if self.waiting.is_empty() {
                break;
            }
            self.start_round(table, ctx);
        }
        has_finished_round
    }

    fn note_waiting<S>(&self, room: &Room, table: &mut Table<S>) {
        if let Some(members) = table.members_mut(room) {
            members.last_swept = self.last_added;
        }
    }

    fn start_round<S>(&mut self, table: &mut Table<S>, ctx: &mut SendContext<S>) {
        while let Some(delivery) = self.waiting.pop_front() {
            if self.round.is_full() || self.round.would_overfill(&delivery, table) {
                self.waiting.push_front(delivery);
                break;
            }
            // Invariants 3 and 4.
            self.last_taken += 1;
            self.begun.messages += 1;
            self.begun.bytes += delivery.frames.len();
            if let Err(delivery) = self.round.add(delivery, table) {
                ctx.count_unreachable(&delivery);
            }
        }
        if !self.round.is_empty() {
            self.round.begin(table, ctx.compressing.as_mut());
        }
    }
}

/// Takes out of a union the rooms that no join has reached yet: they have no place for the number
/// of the delivery (invariant 3), and a connection that joins one while the delivery waits must not
/// get it.
fn drop_empty_rooms<S>(audience: &mut Audience, table: &Table<S>) {
    if let Audience::Rooms(rooms) = audience
        && rooms.iter().any(|room| table.members(room).is_none())
    {
        let known = rooms.iter().filter(|room| table.members(room).is_some());
        *rooms = Arc::new(known.cloned().collect());
    }
}
