//! A fan-out that is too large for a turn: it goes on in slices beside the turns of other rooms.
//!
//! A fan-out to 100,000 members takes half a second of writes, for which everybody else would wait.
//! So deliveries to a large audience do not enter the turn. They gather here, and are swept over
//! the audience in rounds: a round joins what has gathered, notes who its recipients are, and then
//! serves them between turns, as many writes as those take.
//!
//! Order is kept because nothing overtakes: a delivery that would reach a connection which the sweep
//! still owes something waits in the inbox, and all behind it. With one sweep at a time, that is at
//! worst what it would have waited for one large turn.
//!
//! The recipients of a round are those of its start. Members may come and go meanwhile: who left is
//! owed what was published before, and who joined is not.

use super::audience::{any, size};
use super::outlet::{Failure, Post};
use super::selection::Selection;
use super::table::{Members, Table};
use super::turn::{TURN_BYTES_MAX, TURN_DELIVERIES_MAX};
use crate::engine::command::{Audience, Delivery};
use crate::engine::link::ConnId;
use crate::engine::room_index::Room;
use crate::engine::socket::Socket;

/// The state of a sweep; its buffers are kept from round to round.
pub(super) struct Sweep {
    /// Recipients from which an audience is swept.
    audience_min: usize,
    /// Whom the sweep is for. `None` while there is none.
    audience: Option<Audience>,
    /// What the next round will bring.
    waiting: Vec<Delivery>,
    waiting_bytes: usize,
    /// The number of the round: an entry that is marked with it is owed what the round brings.
    round: u64,
    deliveries: Vec<Delivery>,
    /// The recipients of the round, and how many of them have had their turn.
    slots: Vec<u32>,
    served: usize,
    /// Those of the recipients that a delivery passes by, sorted.
    excepted: Vec<u32>,
    /// What all others get.
    common: Selection,
    /// What one that is passed by gets.
    own: Selection,
}

impl Sweep {
    /// No sweep. Audiences of `audience_min` connections will be swept, with bursts that fit into a
    /// send queue of `queue_bytes`.
    pub(super) fn new(audience_min: usize, queue_bytes: usize) -> Self {
        Self {
            audience_min,
            audience: None,
            waiting: Vec::new(),
            waiting_bytes: 0,
            // The mark of an entry that was never marked is 0.
            round: 1,
            deliveries: Vec::new(),
            slots: Vec::new(),
            served: 0,
            excepted: Vec::new(),
            common: Selection::new(queue_bytes),
            own: Selection::new(queue_bytes),
        }
    }

    /// Whether there is nothing to deliver.
    pub(super) fn is_idle(&self) -> bool {
        self.audience.is_none()
    }

    /// Whether the delivery is one for the sweep.
    pub(super) fn takes<S>(&self, delivery: &Delivery, table: &Table<S>) -> bool {
        match (&self.audience, &delivery.audience) {
            (None, Audience::Everyone | Audience::Room(_)) => self.is_large(delivery, table),
            (Some(Audience::Everyone), Audience::Everyone) => true,
            (Some(Audience::Room(ours)), Audience::Room(room)) => std::ptr::eq(&**ours, &**room),
            _ => false,
        }
    }

    /// Whether there is no room for a delivery more.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= TURN_DELIVERIES_MAX || self.waiting_bytes >= TURN_BYTES_MAX
    }

    /// Whether a delivery that the sweep does not take would overtake it.
    pub(super) fn holds_up<S>(&self, delivery: &Delivery, table: &Table<S>) -> bool {
        !self.is_idle()
            && (self.is_large(delivery, table)
                || any(&delivery.audience, table, |slot| self.owes(slot, table)))
    }

    /// Whether a change of the members of `room` would be seen by a delivery that waits.
    pub(super) fn touches(&self, room: &Room) -> bool {
        let is_ours =
            matches!(&self.audience, Some(Audience::Room(ours)) if std::ptr::eq(&**ours, room));
        is_ours && !self.waiting.is_empty()
    }

    /// Whether a new connection would be seen by a delivery that waits.
    pub(super) fn touches_everyone(&self) -> bool {
        matches!(self.audience, Some(Audience::Everyone)) && !self.waiting.is_empty()
    }

    /// Whether the connection has still to get something.
    pub(super) fn owes<S>(&self, slot: u32, table: &Table<S>) -> bool {
        let is_in_round = table.get(slot).is_some_and(|entry| entry.round == self.round);
        is_in_round
            || !self.waiting.is_empty()
                && match &self.audience {
                    Some(Audience::Room(room)) => table.is_member(slot, room),
                    Some(_) => true,
                    None => false,
                }
    }

    /// Adds a delivery that it [`takes`](Self::takes), for the next round.
    pub(super) fn add(&mut self, delivery: Delivery) {
        self.audience.get_or_insert_with(|| delivery.audience.clone());
        self.waiting_bytes += delivery.frame.len();
        self.waiting.push(delivery);
    }

    /// Serves recipients until there are no more, or `budget` writes are used up. Call it between
    /// turns only. Connections that fail are added to `failed`, and get nothing more.
    pub(super) fn advance<S: Socket>(
        &mut self,
        table: &mut Table<S>,
        post: &mut Post<S>,
        failed: &mut Vec<(ConnId, Failure)>,
        budget: &mut usize,
    ) {
        while *budget > 0 {
            let Some(&slot) = self.slots.get(self.served) else {
                self.finish_round();
                if self.waiting.is_empty() {
                    self.audience = None;
                    return;
                }
                self.start_round(table);
                continue;
            };
            self.served += 1;
            // The slot may be another connection's by now, which has no such mark.
            let Some(entry) = table.get_mut(slot).filter(|entry| entry.round == self.round) else {
                continue;
            };
            entry.round = 0;
            let id = entry.id;
            self.selection_of(slot, id).send(slot, table, post, failed);
            *budget -= 1;
        }
    }

    fn is_large<S>(&self, delivery: &Delivery, table: &Table<S>) -> bool {
        size(&delivery.audience, table) >= self.audience_min
    }

    fn start_round<S>(&mut self, table: &mut Table<S>) {
        std::mem::swap(&mut self.deliveries, &mut self.waiting);
        self.waiting_bytes = 0;
        match &self.audience {
            Some(Audience::Room(room)) => {
                self.slots.extend(table.members(room).into_iter().flat_map(Members::slots));
            }
            _ => self.slots.extend_from_slice(table.everyone()),
        }
        for &slot in &self.slots {
            if let Some(entry) = table.get_mut(slot) {
                entry.round = self.round;
            }
        }
        let excepted = self.deliveries.iter().flat_map(|delivery| delivery.except.ids());
        self.excepted.extend(excepted.filter_map(|id| table.slot(*id)));
        self.excepted.sort_unstable();
        self.common.indices.extend(0..self.deliveries.len() as u32);
        self.common.join(&self.deliveries);
    }

    fn finish_round(&mut self) {
        self.round += 1;
        self.deliveries.clear();
        self.slots.clear();
        self.served = 0;
        self.excepted.clear();
        self.common.clear();
        self.own.clear();
    }

    fn selection_of(&mut self, slot: u32, id: ConnId) -> &Selection {
        if self.excepted.binary_search(&slot).is_err() {
            return &self.common;
        }
        self.own.indices.clear();
        self.own.indices.extend(0..self.deliveries.len() as u32);
        self.own.pass_by(id, &self.deliveries);
        self.own.join(&self.deliveries);
        &self.own
    }
}
