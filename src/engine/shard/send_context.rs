//! What a shard needs to send, besides the connection itself: bounds, the time, and counts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::conn_slot::ConnSlot;
use crate::engine::command::{Audience, Delivery};
use crate::engine::frame;
use crate::engine::link::Link;
use crate::engine::port::Port;
use crate::engine::send_queue::QueueLimits;

/// Bytes that take about as long as a small write does, besides the call itself.
const BYTES_PER_WRITE: usize = 16 * 1024;

/// What sending needs of the shard, besides the connection itself.
pub(super) struct SendContext<S> {
    pub(super) port: Arc<Port<S>>,
    pub(super) limits: QueueLimits,
    pub(super) write_timeout: Duration,
    pub(super) now: Duration,
    pub(super) tally: Tally,
    /// Slots of the connections that have something queued.
    pub(super) blocked: BTreeSet<ConnSlot>,
    /// How many of them the counters know of.
    pub(super) blocked_reported: usize,
    /// Bytes of data in all queues, and what of them the budget of the hub knows of.
    pub(super) queued_bytes: usize,
    pub(super) queued_bytes_reported: usize,
}

impl<S> SendContext<S> {
    /// Counts messages that were handed to a connection, and are lost with it.
    pub(super) fn count_undelivered(&mut self, messages: usize) {
        self.tally.deliveries += messages as u64;
        self.port.counters().dropped_at_end.add(messages as u64);
    }

    /// Counts what was sent to one connection that is gone.
    pub(super) fn count_unreachable(&mut self, delivery: &Delivery) {
        if let Audience::Conn(id) = delivery.audience
            && !delivery.except.passes_by(id)
        {
            self.count_undelivered(frame::count(&delivery.frames));
        }
    }

    /// Takes the bytes that were written since the last call off a budget of writes.
    #[inline]
    pub(super) fn charge_bytes(&mut self, budget: &mut usize) {
        let writes = self.tally.bytes_uncharged / BYTES_PER_WRITE;
        self.tally.bytes_uncharged %= BYTES_PER_WRITE;
        *budget = budget.saturating_sub(writes);
    }

    /// Notes how the data in the queue of a connection has changed.
    pub(super) fn requeued(&mut self, link: &Link, before: usize, after: usize) {
        self.queued_bytes = self.queued_bytes + after - before;
        if after > before {
            link.add_waiting(after - before);
        } else if after < before {
            link.remove_waiting(before - after);
        }
    }

    /// Tells the budget of the hub.
    pub(super) fn publish_queued(&mut self) {
        let budget = self.port.queued_bytes();
        let (reported, queued) = (self.queued_bytes_reported, self.queued_bytes);
        if queued > reported {
            budget.take(queued - reported);
        } else if queued < reported {
            budget.give_back(reported - queued);
        }
        self.queued_bytes_reported = queued;
    }

    /// Tells the counters.
    pub(super) fn publish_blocked(&mut self) {
        let (reported, blocked) = (self.blocked_reported, self.blocked.len());
        let counter = &self.port.counters().blocked;
        if blocked > reported {
            counter.add((blocked - reported) as u64);
        } else if blocked < reported {
            counter.sub((reported - blocked) as u64);
        }
        self.blocked_reported = blocked;
    }

    /// The queues go, and all that is in them.
    pub(super) fn forget_queued(&mut self) {
        self.blocked.clear();
        self.publish_blocked();
        self.queued_bytes = 0;
        self.publish_queued();
    }
}

/// Counts of a slice of work, added to the shared counters at its end: one atomic add a slice
/// instead of three a write.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) deliveries: u64,
    pub(super) writes: u64,
    pub(super) bytes_out: u64,
    /// Bytes of writes that no budget has paid for.
    bytes_uncharged: usize,
}

impl Tally {
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.writes += 1;
        self.bytes_out += bytes as u64;
        self.bytes_uncharged += bytes;
    }
}
