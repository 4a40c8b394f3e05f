//! Closing all connections, or a share of them, spread over a window of time.

use std::sync::Arc;
use std::time::Duration;

use super::{STEPS_PER_WRITE, Shard};
use crate::engine::close::{Close, DisconnectReason};
use crate::engine::closing::{Closing, Shedding, choose};
use crate::engine::command::Reply;
use crate::engine::link::{ConnKey, Stage};
use crate::engine::socket::Socket;

/// The least time between two closes of a window: a wake-up costs more than a close.
const CLOSE_TICK: Duration = Duration::from_millis(1);

/// Connections that are being closed one after the other.
pub(super) struct Draining {
    closing: Arc<Closing>,
    since: Duration,
    /// The connections still to be closed, in random order; the last one is next. Some may have
    /// ended meanwhile.
    remaining: Vec<ConnKey>,
    /// The number of connections at the start.
    total: usize,
    scope: Scope,
}

/// The connections that a draining closes.
enum Scope {
    /// All, including those that are attached later.
    Everyone,
    /// A share. At the end, `reply` gets the number that were asked: the growth of the counter
    /// since `shed_before`.
    Share { reply: Reply<usize>, shed_before: u64 },
}

impl Draining {
    fn new(closing: Arc<Closing>, since: Duration, remaining: Vec<ConnKey>, scope: Scope) -> Self {
        Self { closing, since, total: remaining.len(), remaining, scope }
    }

    fn closes_everyone(&self) -> bool {
        matches!(self.scope, Scope::Everyone)
    }

    fn reason_for(&self, conn: ConnKey) -> DisconnectReason {
        let close = self.closing.close_for(conn);
        match self.scope {
            Scope::Everyone => DisconnectReason::HubClosed(close),
            Scope::Share { .. } => DisconnectReason::Shed(close),
        }
    }

    /// The most connections that may remain at `now`. The first is closed at once, the last before
    /// the window ends.
    fn remaining_max(&self, now: Duration) -> usize {
        let window = self.closing.window;
        let time_left = self.since.saturating_add(window).saturating_sub(now);
        if time_left.is_zero() {
            return 0;
        }
        (self.total as f64 * time_left.as_secs_f64() / window.as_secs_f64()) as usize
    }

    /// About when the next close is due while `left` connections remain.
    fn next_at(&self, left: usize) -> Duration {
        let closed = self.total.saturating_sub(left);
        let part = (closed as f64 / self.total.max(1) as f64).min(1.0);
        self.since.saturating_add(self.closing.window.mul_f64(part))
    }
}

impl<S: Socket> Shard<S> {
    /// Starts to close all connections over the window of `closing`.
    pub(super) fn close_all(&mut self, closing: Arc<Closing>, budget: &mut usize) {
        let all = self.table.everyone().len();
        let remaining = self.choose_conns(all, 0, budget);
        self.start_draining(Draining::new(closing, self.ctx.now, remaining, Scope::Everyone));
    }

    /// Starts to close a share of the connections over the window of its `closing`.
    pub(super) fn shed(&mut self, how: Shedding, reply: Reply<usize>, budget: &mut usize) {
        if self.is_ending() {
            return reply(0);
        }
        let count = how.count(self.table.everyone().len());
        let remaining = self.choose_conns(count, how.seed, budget);
        let shed_before = self.ctx.port.counters().shed.get();
        let scope = Scope::Share { reply, shed_before };
        self.start_draining(Draining::new(how.closing, self.ctx.now, remaining, scope));
    }

    /// Chooses `count` open connections, in random order. The table has them in about the order of
    /// their arrival; in another order, connections that belong together are not all closed at
    /// once.
    fn choose_conns(&self, count: usize, seed: u64, budget: &mut usize) -> Vec<ConnKey> {
        let mut slots = self.table.everyone().to_vec();
        choose(&mut slots, count, seed);
        *budget = budget.saturating_sub(slots.len() / STEPS_PER_WRITE);
        slots.into_iter().filter_map(|slot| Some(self.table.get(slot)?.id)).collect()
    }

    /// Replaces what is being drained; a shedding that had not finished is finished early.
    fn start_draining(&mut self, draining: Draining) {
        self.finish_shedding();
        self.draining = Some(draining);
        self.finish_shedding_if_done();
    }

    fn finish_shedding_if_done(&mut self) {
        if self.draining.as_ref().is_some_and(|draining| draining.remaining.is_empty()) {
            self.finish_shedding();
        }
    }

    fn finish_shedding(&mut self) {
        let shed = self.ctx.port.counters().shed.get();
        let shedding = self.draining.take_if(|draining| !draining.closes_everyone());
        if let Some(Draining { scope: Scope::Share { reply, shed_before }, .. }) = shedding {
            reply((shed - shed_before) as usize);
        }
    }

    /// Whether the hub is closed or gone, so that this shard closes all its connections.
    pub fn is_ending(&self) -> bool {
        self.is_stopped || self.draining.as_ref().is_some_and(Draining::closes_everyone)
    }

    /// The reason for the end of a connection, if all are to be closed.
    pub(super) fn reason_to_close_everyone(&self, id: ConnKey) -> Option<DisconnectReason> {
        let draining = self.draining.as_ref().filter(|draining| draining.closes_everyone())?;
        Some(draining.reason_for(id))
    }

    /// Closes the connections that are due; `false` if the budget is used up first.
    pub(super) fn drain(&mut self, budget: &mut usize) -> bool {
        while self.is_close_due() {
            let Some(draining) = &mut self.draining else { break };
            if *budget == 0 {
                return false;
            }
            let Some(id) = draining.remaining.pop() else { break };
            let reason = draining.reason_for(id);
            *budget -= 1;
            self.end(id, reason);
            self.charge_settling(budget);
        }
        self.finish_shedding_if_done();
        true
    }

    /// Whether a connection is to be closed now. If no connection is open, all that remain have
    /// ended: they are due at once, so that the draining finishes.
    pub(super) fn is_close_due(&self) -> bool {
        let is_alone = self.table.everyone().is_empty();
        self.draining.as_ref().is_some_and(|draining| {
            let remaining_max = if is_alone { 0 } else { draining.remaining_max(self.ctx.now) };
            draining.remaining.len() > remaining_max
        })
    }

    /// When the next connection is to be closed.
    pub(super) fn next_close(&self) -> Option<Duration> {
        let draining = self.draining.as_ref()?;
        let left = draining.remaining.len();
        (left > 0).then(|| draining.next_at(left).max(self.ctx.now + CLOSE_TICK))
    }

    /// Cuts all remaining connections at once, since no other work of the shard is left to delay.
    /// Returns the number of those that had not received all that was sent to them.
    pub(super) fn cut_all(&mut self) -> usize {
        let ids: Vec<ConnKey> = self.table.ids().collect();
        ids.into_iter().filter(|&id| self.cut_now(id)).count()
    }

    fn cut_now(&mut self, id: ConnKey) -> bool {
        let reason = self.reason_to_close_everyone(id);
        self.end(id, reason.unwrap_or_else(|| DisconnectReason::HubClosed(Close::hub_closed())));
        let Some(slot) = self.table.slot(id) else { return false };
        let Some(entry) = self.table.get_mut(slot) else { return false };
        match entry.stage {
            Stage::Flushed | Stage::Cut => {
                // The kernel still sends what it has taken.
                entry.advance(Stage::Cut);
                entry.outlet.is_unacknowledged()
            }
            _ => {
                self.cut(slot);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn draining(total: usize) -> Draining {
        let closing = Closing { window: WINDOW, ..Closing::now() };
        let left = (0..total as u64).map(ConnKey::from_u64).collect();
        Draining::new(closing.into(), Duration::from_secs(100), left, Scope::Everyone)
    }

    #[test]
    fn closes_are_spread_evenly_and_end_with_the_window() {
        let draining = draining(1_000);
        let left = |seconds| draining.remaining_max(Duration::from_secs_f64(seconds));
        assert_eq!([100.0, 101.0, 105.0, 109.0].map(left), [1_000, 900, 500, 100]);
        assert_eq!([110.0, 200.0].map(left), [0, 0]);
    }

    #[test]
    fn next_close_is_due_when_fewer_connections_may_remain() {
        for total in [1, 3, 1_000] {
            let draining = draining(total);
            for left in 1..=total {
                let at = draining.next_at(left);
                let ms = Duration::from_millis(1);
                assert!(draining.remaining_max(at + ms) < left, "{left} of {total}");
                let before = (at - ms).max(draining.since);
                assert!(draining.remaining_max(before) >= left, "{left} of {total}");
            }
        }
    }
}
