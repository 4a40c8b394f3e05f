//! Pings and pongs, and the end of connections that are silent.
//!
//! A connection is on the wheel until its next ping is due, or until it would have been silent for
//! two intervals, whichever is earlier. Any byte that its session receives is a sign of life. The
//! session stamps it with the shard's clock, which may be a tick old, so the check waits a tick
//! longer.
//!
//! A silent connection is kept in these cases:
//!
//! - Bytes wait to be read: the session is late, not the client.
//! - The overflow policy keeps slow clients, something waits for this client, and it still answers.
//!   Its pings wait too.
//! - The session does not listen, because a handler runs or the hub is congested. A dead peer is
//!   then found by the pings that its socket does not take.

use std::time::Duration;

use bytes::Bytes;

use super::conn_slot::ConnSlot;
use super::table::Table;
use super::wheel::Wheel;
use super::{Shard, Socket};
use crate::engine::close::DisconnectReason;
use crate::engine::frame;
use crate::engine::link::ConnKey;

/// The number of silent intervals after which a connection is closed.
const SILENT_INTERVALS: u32 = 2;

pub(super) struct KeepAlive {
    interval: Duration,
    wheel: Wheel,
}

impl KeepAlive {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, wheel: Wheel::new(interval) }
    }

    /// When the wheel is to be checked next.
    pub(super) fn next_tick(&self, now: Duration) -> Option<Duration> {
        (!self.wheel.is_empty()).then(|| now + self.wheel.tick())
    }

    /// Puts a new connection on the wheel.
    pub(super) fn watch<S>(&mut self, slot: ConnSlot, now: Duration, table: &mut Table<S>) {
        if let Some(entry) = table.get_mut(slot) {
            let due = now + self.interval;
            entry.ping_due_ms = due.as_millis() as u64;
            entry.wheel = Some(self.wheel.insert(slot, due));
        }
    }

    /// Takes a connection off the wheel.
    pub(super) fn forget<S>(&mut self, slot: ConnSlot, table: &mut Table<S>) {
        let Some(position) = table.get_mut(slot).and_then(|entry| entry.wheel.take()) else {
            return;
        };
        let moved = self.wheel.remove(position);
        if let Some(entry) = moved.and_then(|moved| table.get_mut(moved)) {
            entry.wheel = Some(position);
        }
    }

    /// How long a connection may be silent.
    fn patience(&self) -> Duration {
        self.interval * SILENT_INTERVALS + self.wheel.tick()
    }
}

impl<S: Socket> Shard<S> {
    /// Pings or closes the connections that are due; `false` if the budget is used up first.
    pub(super) fn keep_alive(&mut self, budget: &mut usize) -> bool {
        let now = self.ctx.now;
        while let Some(keep_alive) = &mut self.keep_alive {
            if *budget == 0 {
                return false;
            }
            let Some(slot) = keep_alive.wheel.pop_due(now) else { break };
            let Some(entry) = self.table.get_mut(slot) else { continue };
            entry.wheel = None;
            let id = entry.id;
            let heard = entry.link.heard().max(Duration::from_millis(entry.attached_ms));
            let mut silent_until = heard.saturating_add(keep_alive.patience());
            if silent_until <= now {
                if !entry.outlet.has_unread() && !entry.outlet.is_silent_for_slowness(&self.ctx) {
                    *budget -= 1;
                    self.end(id, DisconnectReason::Idle);
                    continue;
                }
                silent_until = now + keep_alive.interval;
            }
            let is_ping_due = Duration::from_millis(entry.ping_due_ms) <= now;
            if is_ping_due {
                entry.ping_due_ms = (now + keep_alive.interval).as_millis() as u64;
            }
            let due = silent_until.min(Duration::from_millis(entry.ping_due_ms));
            entry.wheel = Some(keep_alive.wheel.insert(slot, due));
            if is_ping_due {
                self.ctx.port.counters().pings.add(1);
                self.with_outlet(id, budget, |outlet, conn, ctx| {
                    outlet.ping(conn, frame::ping(), ctx)
                });
            }
        }
        true
    }

    /// Sends the answer to a ping, and then lets the session send the next one.
    pub(super) fn pong(&mut self, id: ConnKey, frame: Bytes, budget: &mut usize) {
        self.with_outlet(id, budget, |outlet, conn, ctx| {
            outlet.pong(conn, frame, ctx).inspect(|replaced| {
                ctx.port.counters().pongs_replaced.add(u64::from(*replaced));
            })
        });
        if let Some(entry) = self.table.slot(id).and_then(|slot| self.table.get(slot)) {
            entry.link.finish_pong();
        }
    }
}
