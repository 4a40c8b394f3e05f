//! Fan-outs that are too large for a turn: they go on in slices beside the turns of others.
//!
//! A fan-out to 100,000 members takes half a second of writes, for which everybody else would wait.
//! So deliveries to large audiences do not enter the turn. They gather here and are delivered in
//! rounds, each a turn of its own; a round is worked off between the direct turns, as many writes as
//! those take. A turn that turns out to be long becomes a round as it is.
//!
//! Order is kept because nothing overtakes: a delivery that reaches a connection to which a sweep
//! still owes something joins what gathers here, however small it is. A change of members that what
//! gathers here would see waits, and all behind it, until the next round has been planned.

use std::collections::VecDeque;

use super::audience::{any, concerns, size};
use super::conn_slot::ConnSlot;
use super::ending::DueQueue;
use super::selection::send;
use super::send_context::SendContext;
use super::table::Table;
use super::turn::{Lane, Turn};
use crate::engine::command::{Audience, Delivery};
use crate::engine::frame;
use crate::engine::room::Room;
use crate::engine::send_queue::{Amount, Burst};
use crate::engine::socket::Socket;

/// Deliveries to large audiences, and what must not overtake them.
///
/// What gathers here keeps its place in the inbox until a round takes it: so the bounds of the inbox
/// are its bounds as well.
///
/// Deliveries are numbered in the order in which they come. A room, a connection and the sweep
/// itself (for everyone) remember the last delivery to them: if that has not been taken into a
/// round, something waits for them.
pub(super) struct Sweep {
    /// Recipients from which an audience is large.
    large_audience: usize,
    /// What the next round will bring.
    waiting: VecDeque<Delivery>,
    /// What was given to rounds and not yet told.
    begun: Amount,
    /// The number of the last delivery that came, of the last one to everyone, and of the last one
    /// that was taken into a round.
    last_added: u64,
    last_added_to_everyone: u64,
    last_taken: u64,
    round: Turn,
}

impl Sweep {
    /// No sweep. Audiences of `large` connections will be swept, with bursts that fit into a send
    /// queue of `queue_bytes`.
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

    /// Whether the delivery is one for the sweep: it is large, or would overtake.
    pub(super) fn takes<S>(&self, delivery: &Delivery, table: &Table<S>) -> bool {
        let audience = &delivery.audience;
        size(audience, table) >= self.large_audience
            || !self.is_idle() && any(audience, table, |slot| self.owes(slot, table))
    }

    /// Whether a change of the members of `room` would be seen by a delivery that waits.
    pub(super) fn touches<S>(&self, room: &Room, table: &Table<S>) -> bool {
        table.members(room).is_some_and(|members| members.last_swept > self.last_taken)
    }

    /// Whether a new connection would be seen by a delivery that waits.
    pub(super) fn touches_everyone(&self) -> bool {
        self.last_added_to_everyone > self.last_taken
    }

    /// Whether the connection has still to get something.
    pub(super) fn owes<S>(&self, slot: ConnSlot, table: &Table<S>) -> bool {
        !self.is_idle()
            && (self.round.owes(slot, table)
                || self.touches_everyone()
                || table.last_swept(slot) > self.last_taken)
    }

    /// Takes a turn that has been collected, to deliver it as a round; with nothing to deliver so far.
    pub(super) fn adopt<S>(&mut self, turn: &mut Turn, table: &mut Table<S>) {
        debug_assert!(self.is_idle());
        turn.hand_over(&mut self.round, table);
        if self.round.is_empty() { self.round.finish() } else { self.round.begin(table) }
    }

    /// Adds a delivery that it [`takes`](Self::takes), for the next round.
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

    /// Gives a connection that is about to end what it is owed, now. The shard then takes it from its
    /// rooms. Returns how many deliveries it has looked at.
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
            let frames = delivery.frames.clone();
            let burst = Burst { messages: frame::count(&frames), frames };
            if let Some(entry) = table.get_mut(slot) {
                send(&burst, slot, entry, ctx, due);
            }
            if matches!(delivery.audience, Audience::Conn(to) if to == id) {
                delivery.audience = Audience::nobody();
            }
        }
        steps + self.waiting.len()
    }

    /// Takes what has been given to rounds since this was last asked.
    pub(super) fn take_begun(&mut self) -> Amount {
        std::mem::take(&mut self.begun)
    }

    /// Delivers until there is no more, or `budget` writes are used up. Call it between direct turns
    /// only. Connections that fail are added to `due`, and get nothing more. `true` if a round is over.
    pub(super) fn advance<S: Socket>(
        &mut self,
        table: &mut Table<S>,
        ctx: &mut SendContext<S>,
        due: &mut DueQueue,
        budget: &mut usize,
    ) -> bool {
        let mut has_finished_round = false;
        while self.round.fan_out(table, ctx, due, budget) {
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
            self.last_taken += 1;
            self.begun.messages += 1;
            self.begun.bytes += delivery.frames.len();
            if let Err(delivery) = self.round.add(delivery, table) {
                ctx.count_unreachable(&delivery);
            }
        }
        if !self.round.is_empty() {
            self.round.begin(table);
        }
    }
}

/// Takes the rooms out of a union that no join has reached yet: they cannot be noted, and who joins
/// one while the delivery waits must not get it.
fn drop_empty_rooms<S>(audience: &mut Audience, table: &Table<S>) {
    if let Audience::Rooms(rooms) = audience
        && rooms.iter().any(|room| table.members(room).is_none())
    {
        let known = rooms.iter().filter(|room| table.members(room).is_some());
        *rooms = known.cloned().collect();
    }
}
