//! The part of a shard's state that sending needs, besides the connection itself: bounds, the time,
//! and counts.

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::compressing::{
    BurstForms, BurstParts, ClientWindow, Coding, Compressing, CompressionTally, Form,
};
use super::conn_slot::ConnSlot;
use crate::engine::command::{Audience, Delivery};
use crate::engine::frame;
use crate::engine::link::Link;
use crate::engine::port::Port;
use crate::engine::send_queue::QueueLimits;

/// The bytes that take about as long to write as the system call of a small write.
const BYTES_PER_WRITE: usize = 16 * 1024;

/// Compressing a byte takes about as long as writing so many bytes.
const WRITTEN_PER_COMPRESSED: usize = 8;

/// The state that sending needs, besides the connection itself.
pub(super) struct SendContext<S> {
    pub(super) port: Arc<Port<S>>,
    pub(super) limits: QueueLimits,
    pub(super) write_timeout: Duration,
    pub(super) now: Duration,
    pub(super) tally: Tally,
    /// The slots of the connections with queued data or control frames.
    pub(super) blocked: BTreeSet<ConnSlot>,
    /// The size of `blocked` that the counters show.
    pub(super) blocked_reported: usize,
    /// The bytes of data in all queues, and the part that was reported to the hub's budget.
    pub(super) queued_bytes: usize,
    pub(super) queued_bytes_reported: usize,
    /// `None` if nothing is compressed.
    pub(super) compressing: Option<Compressing>,
}

impl<S> SendContext<S> {
    /// Counts messages that were handed to a connection and are lost with it.
    pub(super) fn count_undelivered(&mut self, messages: usize) {
        self.tally.deliveries += messages as u64;
        self.port.counters().dropped_at_end.add(messages as u64);
    }

    /// Counts a delivery to one connection that is gone.
    pub(super) fn count_unreachable(&mut self, delivery: &Delivery) {
        if let Audience::Conn(id) = delivery.audience
            && !delivery.except.passes_by(id)
        {
            self.count_undelivered(frame::count(&delivery.frames));
        }
    }

    /// Chooses the form of a burst for a client that can inflate; `None` for plain. A form that is
    /// made for the first recipient is charged to the budget.
    pub(super) fn choose_form(
        &mut self,
        coding: Coding,
        window: ClientWindow,
        burst: (&Bytes, &mut BurstForms),
        parts: BurstParts<'_>,
    ) -> Option<Form> {
        let compressing = self.compressing.as_mut()?;
        let form = compressing.choose(coding, window, burst, parts, &mut self.tally.compression);
        self.tally.bytes_uncharged +=
            mem::take(&mut self.tally.compression.bytes_uncharged) * WRITTEN_PER_COMPRESSED;
        form
    }

    /// Counts a compressed burst that left.
    pub(super) fn note_compressed(&mut self, plain_bytes: usize, bytes: usize) {
        self.tally.compression.plain_bytes += plain_bytes as u64;
        self.tally.compression.bytes += bytes as u64;
    }

    /// Notes that a client got all of a burst of its room's stream.
    pub(super) fn note_in_step(&mut self, coding: Coding) {
        if let Some(compressing) = &mut self.compressing {
            compressing.note_in_step(coding);
        }
    }

    /// Charges a budget of writes for the bytes that were written since the last call.
    #[inline]
    pub(super) fn charge_bytes(&mut self, budget: &mut usize) {
        let writes = self.tally.bytes_uncharged / BYTES_PER_WRITE;
        self.tally.bytes_uncharged %= BYTES_PER_WRITE;
        *budget = budget.saturating_sub(writes);
    }

    /// Notes that the data in the queue of a connection changed from `before` to `after` bytes.
    pub(super) fn requeued(&mut self, link: &Link, before: usize, after: usize) {
        self.queued_bytes = self.queued_bytes + after - before;
        if after > before {
            link.add_waiting(after - before);
        } else if after < before {
            link.remove_waiting(before - after);
        }
    }

    /// Reports the queued bytes to the hub's budget.
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

    /// Reports the number of blocked connections to the counters.
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

    /// Forgets all queues: the shard goes, and the queues with it.
    pub(super) fn forget_queued(&mut self) {
        self.blocked.clear();
        self.publish_blocked();
        self.queued_bytes = 0;
        self.publish_queued();
    }
}

/// Counts of a slice of work. They are added to the shared counters at the end of the slice: one
/// atomic addition a slice, not three a write.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) deliveries: u64,
    pub(super) writes: u64,
    /// Writes that left in a batch.
    pub(super) batched_writes: u64,
    pub(super) bytes_out: u64,
    /// Written bytes that were not charged to a budget yet.
    bytes_uncharged: usize,
    pub(super) compression: CompressionTally,
}

impl Tally {
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.writes += 1;
        self.bytes_out += bytes as u64;
        self.bytes_uncharged += bytes;
    }
}
