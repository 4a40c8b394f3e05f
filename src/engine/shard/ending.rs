//! How connections end: by failure, by command, or because they are blocked for too long.
//!
//! A connection that ends is first given what was sent to it before, and then leaves its rooms, and
//! its session is told why. Its entry stays until the session gives the socket back, so that the rest
//! of the queue and a close frame can still leave. What can no longer be delivered is counted.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::conn_slot::ConnSlot;
use super::outlet::{ConnRef, Failure};
use super::table::Entry;
use super::{STEPS_PER_WRITE, SWEEP_WRITES_MIN, Shard};
use crate::engine::close::{DisconnectReason, Eviction, Farewell};
use crate::engine::frame;
use crate::engine::link::{ConnKey, End, Stage};
use crate::engine::send_queue::Amount;
use crate::engine::socket::Socket;

/// How long an evicted connection has for its close frame. The client has shown that it does not
/// read, so there is little to wait for: it is gone within a second, with the time to the next look at
/// blocked sockets.
pub(super) const EVICTED_CLOSE_TIMEOUT: Duration = Duration::from_millis(800);

/// How often blocked sockets are looked at, as a part of the shorter of their two timeouts: how much
/// later than it they may be ended.
const CHECKS_PER_TIMEOUT: u32 = 16;

/// Why a connection is due to end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// A write to it failed.
    Failed(Failure),
    /// It was blocked for too long when that was last looked at.
    Stalled,
    /// It is one of the slowest, and the hub has too many bytes queued.
    ForMemory,
}

/// Connections that are due to end, in their order: many may be at once, and each is a write.
pub(super) type DueQueue = VecDeque<(ConnKey, Due)>;

impl<S: Socket> Shard<S> {
    /// Ends what is due to end; `false` if the budget did not reach.
    pub(super) fn end_due(&mut self, budget: &mut usize) -> bool {
        while *budget > 0 {
            let Some((id, due)) = self.due.pop_front() else { return true };
            *budget -= 1;
            match due {
                Due::Failed(failure) => self.fail(id, failure),
                Due::Stalled => self.end_stalled(id),
                Due::ForMemory => self.end_for_memory(id),
            }
            self.charge_settling(budget);
        }
        self.due.is_empty()
    }

    /// Has connections part that have been withdrawn, for as long as the last turn took; `false` if the
    /// budget did not reach.
    pub(super) fn send_farewells(&mut self, budget: &mut usize) -> bool {
        // An action holds up the inbox, so it comes first.
        if self.withdrawn.is_empty() || self.ongoing_act.is_some() {
            self.farewell_credit = 0;
            return true;
        }
        let credit = self.farewell_credit.max(SWEEP_WRITES_MIN);
        let count = credit.min(*budget).min(self.withdrawn.len());
        for _ in 0..count {
            let Some(id) = self.withdrawn.pop_front() else { break };
            // It may have gone meanwhile.
            if let Some(slot) = self.table.slot(id) {
                self.say_farewell(slot);
            }
        }
        *budget -= count;
        self.farewell_credit = if self.withdrawn.is_empty() { 0 } else { credit - count };
        self.farewell_credit == 0
    }

    pub(super) fn fail(&mut self, id: ConnKey, failure: Failure) {
        self.end(id, failure.into());
    }

    fn evict(&mut self, id: ConnKey, cause: Eviction, queued: Amount) {
        let Amount { messages, bytes } = queued;
        self.end(id, DisconnectReason::SlowClient { cause, messages, bytes });
    }

    /// Ends a connection that has not ended: it gets what it is owed, leaves its rooms, its session is
    /// told, and its client is taken leave of.
    pub(super) fn end(&mut self, id: ConnKey, reason: DisconnectReason) {
        if let Some(slot) = self.withdraw(id, reason) {
            self.say_farewell(slot);
        }
    }

    /// The first half of an end: the connection gets what it is owed, and leaves its rooms. Gives the slot of
    /// one that has not ended before. Whoever calls this has it [part](Self::say_farewell), sooner or later.
    pub(super) fn withdraw(
        &mut self,
        id: ConnKey,
        mut reason: DisconnectReason,
    ) -> Option<ConnSlot> {
        let slot = self.table.slot(id)?;
        let entry = self.table.get_mut(slot)?;
        if entry.stage >= Stage::Withdrawn {
            return None;
        }
        if !reason.lets_read() {
            entry.stage = Stage::Withdrawn;
        }
        if let Some(failure) = self.settle(slot) {
            // It could not be given what it is owed: that is why it ends.
            reason = failure.into();
        }
        let entry = self.table.get_mut(slot)?;
        entry.stage = Stage::Withdrawn;
        let link = entry.link.clone();
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.forget(slot, &mut self.table);
        }
        let rooms = self.table.withdraw(slot);
        self.count_end(&reason);
        link.set_end(End { reason, rooms });
        Some(slot)
    }

    /// The second half of an end: the session is told, and the client is taken leave of.
    pub(super) fn say_farewell(&mut self, slot: ConnSlot) {
        let Some(entry) = self.table.get_mut(slot).filter(|entry| entry.stage == Stage::Withdrawn)
        else {
            return;
        };
        let Some(End { reason, .. }) = entry.link.end() else { return };
        let farewell = reason.farewell();
        let is_evicted = matches!(reason, DisconnectReason::SlowClient { .. });
        entry.advance(Stage::Ended);
        match farewell {
            Farewell::Close(close) => {
                self.send_farewell(slot, Some(frame::close(&close)), is_evicted)
            }
            Farewell::EndOfStream => self.send_farewell(slot, None, is_evicted),
            Farewell::Nothing => self.cut(slot),
        }
    }

    /// Gives a connection all that was sent to it so far: whoever asks for its end has seen that. What is
    /// for one that has ended is counted as lost. Returns why one that is open could not be given it.
    pub(super) fn settle(&mut self, slot: ConnSlot) -> Option<Failure> {
        let Self { turn, sweep, table, ctx, due, settling_steps, .. } = self;
        let due_before = due.len();
        *settling_steps += turn.settle(slot, table, ctx, due);
        *settling_steps += sweep.settle(slot, table, ctx, due);
        if due.len() == due_before {
            return None;
        }
        match due.pop_back() {
            Some((_, Due::Failed(failure))) => Some(failure),
            other => unreachable!("a settled connection can fail once, and not by {other:?}"),
        }
    }

    /// Looking through what waits is work, too.
    pub(super) fn charge_settling(&mut self, budget: &mut usize) {
        *budget = budget.saturating_sub(self.settling_steps / STEPS_PER_WRITE);
        self.settling_steps %= STEPS_PER_WRITE;
    }

    fn count_end(&self, reason: &DisconnectReason) {
        let counters = self.ctx.port.counters();
        counters.connections.sub(1);
        counters.disconnected.add(1);
        match reason {
            DisconnectReason::SlowClient { cause, .. } => counters.evicted(*cause).add(1),
            DisconnectReason::Idle => counters.closed_idle.add(1),
            DisconnectReason::Shed(_) => counters.shed.add(1),
            DisconnectReason::Overloaded => counters.closed_overloaded.add(1),
            DisconnectReason::Protocol(_) => counters.closed_protocol.add(1),
            DisconnectReason::OverLimit(limit) => counters.closed_over(*limit).add(1),
            _ => {}
        }
    }

    /// Sends the close frame, if there is one, and the end of the stream behind what is queued. An
    /// evicted client gets the close frame alone, in little time.
    fn send_farewell(&mut self, slot: ConnSlot, close: Option<Bytes>, is_evicted: bool) {
        let Self { table, ctx, config, .. } = self;
        let Some(entry) = table.get_mut(slot) else { return };
        let Entry { outlet, link, id, .. } = entry;
        let conn = ConnRef { slot, link, id: *id };
        let mut lost = Amount::default();
        if is_evicted {
            lost = outlet.discard_data(link, ctx);
        }
        let sent = outlet.farewell(conn, close, ctx);
        if is_evicted {
            outlet.set_final_deadline(EVICTED_CLOSE_TIMEOUT.min(config.write_timeout), ctx);
        }
        self.count_lost(lost);
        match sent {
            Ok(true) => self.shut_down(slot),
            Ok(false) => {}
            Err(_) => self.cut(slot),
        }
    }

    /// All has left: so does the end of the stream.
    pub(super) fn shut_down(&mut self, slot: ConnSlot) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        entry.outlet.shut_down();
        entry.advance(Stage::Flushed);
    }

    pub(super) fn cut(&mut self, slot: ConnSlot) {
        let Self { table, ctx, .. } = self;
        let Some(entry) = table.get_mut(slot) else { return };
        let Entry { outlet, link, id, .. } = entry;
        let lost = outlet.abort(ConnRef { slot, link, id: *id }, ctx);
        entry.advance(Stage::Cut);
        self.count_lost(lost);
    }

    /// Finds what has been blocked for too long.
    pub(super) fn check_blocked(&mut self) {
        if self.ctx.blocked.is_empty() || self.ctx.now < self.next_check {
            return;
        }
        let timeout = self.config.write_timeout.min(EVICTED_CLOSE_TIMEOUT);
        self.next_check = self.ctx.now + timeout / CHECKS_PER_TIMEOUT;
        let Self { ctx, table, due, .. } = self;
        for &slot in &ctx.blocked {
            let Some(entry) = table.get_mut(slot) else { continue };
            if entry.outlet.is_stalled(entry.stage == Stage::Open, ctx) {
                due.push_back((entry.id, Due::Stalled));
            }
        }
    }

    /// Evicts or cuts a connection that has been blocked for too long, unless it has moved since.
    fn end_stalled(&mut self, id: ConnKey) {
        let Some(slot) = self.table.slot(id) else { return };
        let Some(entry) = self.table.get_mut(slot) else { return };
        if !entry.outlet.is_stalled(entry.stage == Stage::Open, &self.ctx) {
            return;
        }
        match entry.stage {
            Stage::Open => {
                let queued = entry.outlet.queued();
                self.evict(id, Eviction::Stalled, queued);
            }
            // It failed after it was found to be stalled: that it did is due, too.
            Stage::Failed | Stage::Withdrawn => {}
            Stage::Ended | Stage::Flushed | Stage::Cut => self.cut(slot),
        }
    }

    /// Evicts those that have the most queued, while the hub has more bytes queued than it may and this
    /// shard more than its share: then there is such a shard, and each looks whenever it runs, and as
    /// often as at blocked sockets.
    pub(super) fn check_memory(&mut self) {
        self.ctx.publish_queued();
        let budget = self.ctx.port.queued_bytes();
        let surplus = self.ctx.queued_bytes.saturating_sub(budget.fair_share());
        let surplus = surplus.min(budget.excess());
        if surplus == 0 {
            return;
        }
        let queued = self.ctx.blocked.iter().filter_map(|&slot| self.table.get(slot));
        let (going, staying): (Vec<_>, Vec<_>) =
            queued.partition(|entry| entry.outlet.has_final_deadline());
        // An evicted one holds the frame that was torn until it has left or is cut: nobody else
        // is to go for that.
        let mut freed: usize = going.iter().map(|entry| entry.outlet.queued_bytes()).sum();
        let queued = staying.iter().map(|entry| (entry.outlet.queued_bytes(), entry.id));
        // Who has nothing but control frames waiting would go for nothing.
        let mut queued: Vec<(usize, ConnKey)> = queued.filter(|(bytes, _)| *bytes > 0).collect();
        queued.sort_unstable_by(|one, other| other.cmp(one));
        for (bytes, id) in queued {
            if freed >= surplus {
                break;
            }
            freed += bytes;
            self.due.push_back((id, Due::ForMemory));
        }
    }

    fn end_for_memory(&mut self, id: ConnKey) {
        let Some(slot) = self.table.slot(id) else { return };
        let Some(entry) = self.table.get(slot) else { return };
        match entry.stage {
            Stage::Open => {
                let queued = entry.outlet.queued();
                self.evict(id, Eviction::Memory, queued);
            }
            Stage::Ended => self.cut(slot),
            Stage::Failed | Stage::Withdrawn | Stage::Flushed | Stage::Cut => {}
        }
    }

    pub(super) fn count_lost(&self, lost: Amount) {
        self.ctx.port.counters().dropped_at_end.add(lost.messages as u64);
    }
}
