//! How connections end: by a failure, by a command, or because they were blocked for too long.
//!
//! # Invariants
//!
//! 1. A connection that ends is [settled](Shard::settle) first: all that was sent to it
//!    before its end is delivered or, for a slow client or a broken connection, counted as lost.
//! 2. The end has two halves. [`withdraw`](Shard::withdraw) settles the connection, takes it out of
//!    its rooms and sets the reason. [`say_farewell`](Shard::say_farewell) notifies the session and
//!    sends the close frame. Each withdrawn connection gets its farewell, at once or from the queue
//!    `withdrawn`.
//! 3. Each end is counted once: by `withdraw`, or by the port when the shard is gone.
//! 4. The entry stays until the session detaches, so that the rest of the queue and the close frame
//!    can still leave.
//!
//! The stages of an entry: `Open`, `Failed` (a write failed in this turn), `Withdrawn`, `Ended`,
//! `Flushed`, `Cut`.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::conn_slot::ConnSlot;
use super::outlet::{ConnRef, Failure};
use super::table::Entry;
use super::{STEPS_PER_WRITE, SWEEP_WRITES_MIN, Shard};
use crate::engine::close::{DisconnectReason, Farewell};
use crate::engine::frame;
use crate::engine::link::{ConnKey, End, Stage};
use crate::engine::send_queue::Amount;
use crate::engine::socket::Socket;

/// How long an evicted connection has for its close frame. The client has shown that it does not
/// read, so waiting longer is pointless. With the time until the next check of blocked sockets, the
/// connection is gone within a second.
pub(super) const EVICTED_CLOSE_TIMEOUT: Duration = Duration::from_millis(800);

/// Why a connection is due to end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// A write to it failed.
    Failed(Failure),
    /// It was blocked for too long at the last check.
    Stalled,
    /// It has one of the longest queues, and the hub has too many bytes queued.
    ForMemory,
}

/// Connections that are due to end, in order. They are queued because many may be due at once, and
/// each end is a write.
pub(super) type DueQueue = VecDeque<(ConnKey, Due)>;

impl<S: Socket> Shard<S> {
    /// Ends the connections that are due; `false` if the budget is used up first.
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

    /// Sends farewells to withdrawn connections, as many as the last turn did writes; `false` if
    /// the budget is used up first.
    pub(super) fn send_farewells(&mut self, budget: &mut usize) -> bool {
        // An ongoing action blocks the inbox, so it comes first.
        if self.withdrawn.is_empty() || self.ongoing_act.is_some() {
            self.farewell_credit = 0;
            return true;
        }
        let credit = self.farewell_credit.max(SWEEP_WRITES_MIN);
        let count = credit.min(*budget).min(self.withdrawn.len());
        for _ in 0..count {
            let Some(id) = self.withdrawn.pop_front() else { break };
            // The session may have detached meanwhile.
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

    /// Ends a connection that has not ended: both halves (invariant 2).
    pub(super) fn end(&mut self, id: ConnKey, reason: DisconnectReason) {
        if let Some(slot) = self.withdraw(id, reason) {
            self.say_farewell(slot);
        }
    }

    /// The first half of an end: settles the connection, takes it out of its rooms and sets the
    /// reason. Returns the slot, or `None` if the connection was withdrawn before. The caller makes
    /// sure that [`say_farewell`](Self::say_farewell) follows.
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
            // Settling failed, and that is now why the connection ends.
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

    /// The second half of an end: notifies the session and sends the farewell to the client.
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

    /// Gives a connection all that was sent to it so far: the caller that asks for its end has seen
    /// these sends succeed. For a connection that has ended, this counts as lost. Returns the
    /// failure of a connection that was open.
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

    /// Charges the budget for the deliveries that were looked at.
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

    /// Sends the close frame, if there is one, and then the end of the stream, behind what is
    /// queued. For an evicted client, drops the queued data first and sets a short deadline.
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

    /// Ends the stream: all data has left.
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

    pub(super) fn count_lost(&self, lost: Amount) {
        self.ctx.port.counters().dropped_at_end.add(lost.messages as u64);
    }
}
