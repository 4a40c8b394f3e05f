//! Evicts clients whose sockets take nothing. While the hub has too many bytes queued, also evicts
//! the clients with the longest queues. A full send queue evicts at the write that fills it
//! (`outlet.rs`).

use super::Shard;
use super::ending::{Due, EVICTED_CLOSE_TIMEOUT};
use crate::engine::close::{DisconnectReason, Eviction};
use crate::engine::link::{ConnKey, Stage};
use crate::engine::send_queue::Amount;
use crate::engine::socket::Socket;

/// How often blocked sockets are checked in the shorter of the write timeout and
/// [`EVICTED_CLOSE_TIMEOUT`]. A blocked connection is ended at most a 16th of that timeout too
/// late.
const CHECKS_PER_TIMEOUT: u32 = 16;

impl<S: Socket> Shard<S> {
    /// Finds the connections that have been blocked for too long.
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

    /// Evicts or cuts a connection that has been blocked for too long, unless it has made progress
    /// since.
    pub(super) fn end_stalled(&mut self, id: ConnKey) {
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
            // A write has failed since, and that end is due as well.
            Stage::Failed | Stage::Withdrawn => {}
            Stage::Ended | Stage::Flushed | Stage::Cut => self.cut(slot),
        }
    }

    /// Evicts this shard's longest queues, or cuts them if they are closing already, while the hub
    /// is over its budget of queued bytes and this shard over its share.
    ///
    /// If the hub is over its budget, some shard is over its share. Each shard checks between its
    /// turns, and at least as often as it checks blocked sockets.
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
        // An evicted connection holds its torn frame until that has left or is cut. These bytes
        // count as freed: nobody else is to be evicted for them.
        let mut freed: usize = going.iter().map(|entry| entry.outlet.queued_bytes()).sum();
        let queued = staying.iter().map(|entry| (entry.outlet.queued_bytes(), entry.id));
        // Evicting a connection with only control frames would free nothing.
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

    pub(super) fn end_for_memory(&mut self, id: ConnKey) {
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

    fn evict(&mut self, id: ConnKey, cause: Eviction, queued: Amount) {
        let Amount { messages, bytes } = queued;
        self.end(id, DisconnectReason::SlowClient { cause, messages, bytes });
    }
}
