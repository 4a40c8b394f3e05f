//! How connections end: by failure, by command, or because they are blocked for too long.
//!
//! A connection that ends leaves its rooms at once and its session is told why. Its entry stays
//! until the session gives the socket back, so that a close frame can still leave.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::Shard;
use super::outlet::Failure;
use super::table::Phase;
use crate::engine::close::DisconnectReason;
use crate::engine::frame;
use crate::engine::link::{ConnKey, End, Stage};
use crate::engine::send_queue::Amount;
use crate::engine::socket::Socket;

/// How long an evicted connection has for its close frame. The client has shown that it does not
/// read, so there is little to wait for: it is gone within a second, with the time to the next look at
/// blocked sockets.
const EVICTED_CLOSE_TIMEOUT: Duration = Duration::from_millis(800);

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
        }
        self.due.is_empty()
    }

    pub(super) fn fail(&mut self, id: ConnKey, failure: Failure) {
        let counters = self.post.port.counters();
        let reason = match failure {
            Failure::Io(kind) => DisconnectReason::Io(kind),
            Failure::Full(Amount { messages, bytes }) => {
                counters.evicted_full.add(1);
                DisconnectReason::SlowClient { messages, bytes }
            }
        };
        self.end(id, reason);
    }

    /// Ends a connection that has not ended: it leaves its rooms, its session is told, and its client
    /// gets a close frame where there is one to give.
    pub(super) fn end(&mut self, id: ConnKey, reason: DisconnectReason) {
        let Some(slot) = self.table.slot(id) else { return };
        let Some(entry) = self.table.get_mut(slot) else { return };
        if matches!(entry.phase, Phase::Closing | Phase::Shut) {
            return;
        }
        entry.phase = Phase::Closing;
        let link = entry.link.clone();
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.forget(slot, &mut self.table);
        }
        let rooms = self.table.withdraw(slot);
        let counters = self.post.port.counters();
        counters.connections.sub(1);
        counters.disconnected.add(1);
        match &reason {
            DisconnectReason::Idle => counters.closed_idle.add(1),
            DisconnectReason::Overloaded => counters.closed_overloaded.add(1),
            DisconnectReason::Protocol(_) => counters.closed_protocol.add(1),
            DisconnectReason::OverLimit(limit) => counters.closed_over(*limit).add(1),
            _ => {}
        }
        let farewell = reason.farewell();
        let is_evicted = matches!(reason, DisconnectReason::SlowClient { .. });
        link.finish(End { reason, rooms });
        match farewell {
            Some(close) => self.say_farewell(slot, id, frame::close(&close), is_evicted),
            None => self.cut(slot),
        }
    }

    fn say_farewell(&mut self, slot: u32, id: ConnKey, close: Bytes, is_evicted: bool) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        let timeout = match is_evicted {
            true => EVICTED_CLOSE_TIMEOUT.min(self.config.write_timeout),
            false => self.config.write_timeout,
        };
        let lost = match is_evicted {
            true => entry.outlet.discard_data(&mut self.post),
            false => Amount::default(),
        };
        let deadline = self.post.now + timeout;
        let sent = entry.outlet.farewell((slot, id), close, deadline, &mut self.post);
        self.count_lost(lost);
        match sent {
            Ok(true) => self.shut_down(slot),
            Ok(false) => {}
            Err(_) => self.cut(slot),
        }
    }

    /// The close frame has left: so does the end of the stream.
    pub(super) fn shut_down(&mut self, slot: u32) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        entry.phase = Phase::Shut;
        entry.outlet.shut_down();
        entry.link.advance(Stage::Flushed);
    }

    pub(super) fn cut(&mut self, slot: u32) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        entry.phase = Phase::Shut;
        let lost = entry.outlet.abort(slot, &mut self.post);
        entry.link.advance(Stage::Cut);
        self.count_lost(lost);
    }

    /// Finds what has been blocked for too long.
    pub(super) fn check_blocked(&mut self) {
        if self.post.blocked.is_empty() || self.post.now < self.next_check {
            return;
        }
        let timeout = self.config.write_timeout.min(EVICTED_CLOSE_TIMEOUT);
        self.next_check = self.post.now + timeout / CHECKS_PER_TIMEOUT;
        let Self { post, table, due, .. } = self;
        let stalled = post.blocked.iter().filter_map(|&slot| table.get(slot));
        let stalled = stalled.filter(|entry| entry.outlet.stalled(post.now).is_some());
        due.extend(stalled.map(|entry| (entry.id, Due::Stalled)));
    }

    /// Evicts or cuts a connection that has been blocked for too long, unless it has moved since.
    fn end_stalled(&mut self, id: ConnKey) {
        let Some(slot) = self.table.slot(id) else { return };
        let Some(entry) = self.table.get(slot) else { return };
        let Some(Amount { messages, bytes }) = entry.outlet.stalled(self.post.now) else { return };
        match entry.phase {
            Phase::Open => {
                self.post.port.counters().evicted_stalled.add(1);
                self.end(id, DisconnectReason::SlowClient { messages, bytes });
            }
            // It failed after it was found to be stalled: that it did is due, too.
            Phase::Failed => {}
            Phase::Closing | Phase::Shut => self.cut(slot),
        }
    }

    /// Evicts those that have the most queued, while the hub has more bytes queued than it may and this
    /// shard more than its share: then there is such a shard, and each looks whenever it runs, and as
    /// often as at blocked sockets.
    pub(super) fn check_memory(&mut self) {
        self.post.publish_queued();
        let budget = self.post.port.queued_bytes();
        let surplus = self.post.queued_bytes.saturating_sub(budget.fair_share());
        let surplus = surplus.min(budget.excess());
        if surplus == 0 {
            return;
        }
        let queued = self.post.blocked.iter().filter_map(|&slot| self.table.get(slot));
        let (open, ending): (Vec<_>, Vec<_>) = queued.partition(|entry| entry.phase == Phase::Open);
        // An evicted one holds the frame that was torn until it has left or is cut: nobody else
        // is to go for that.
        let mut freed: usize = ending.iter().map(|entry| entry.outlet.queued_bytes()).sum();
        let queued = open.iter().map(|entry| (entry.outlet.queued_bytes(), entry.id));
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
        let Some(entry) = self.table.slot(id).and_then(|slot| self.table.get(slot)) else { return };
        if entry.phase == Phase::Open {
            let Amount { messages, bytes } = entry.outlet.queued();
            self.post.port.counters().evicted_for_memory.add(1);
            self.end(id, DisconnectReason::SlowClient { messages, bytes });
        }
    }

    pub(super) fn count_lost(&self, lost: Amount) {
        self.post.port.counters().dropped_at_end.add(lost.messages as u64);
    }
}

/// Whether the client is gone or done, so that what is still to be delivered need not be. One that
/// broke a rule still reads: it gets the answers to what it has sent before.
pub(super) fn is_over_already(reason: &DisconnectReason) -> bool {
    matches!(reason, DisconnectReason::ClosedByClient(_) | DisconnectReason::Io(_))
}
