//! The hold: after a break, messages wait until the nodes that were known before are subscribed
//! again.
//!
//! # Invariants
//! 1. A server that has come back acknowledges messages even if nobody is subscribed. So after a
//!    break, the publishing task holds all messages and calls the roll
//!    ([`attendance`](crate::backplane::nodes::attendance)).
//! 2. The hold ends when every expected node has answered, or after `rejoin_wait`. Nodes that are
//!    absent then are counted, with the messages that they miss.
//! 3. A call goes out on each waiting channel, and then on the common channel, which lists the
//!    others: the calls on the other channels should arrive first.
//! 4. Channels that join a hold, because the backplane has refused them until now, do not make it
//!    longer. A new call begins for them.

use std::time::Duration;

use tokio::time::Instant;

use super::Publishing;
use crate::backplane::channels::Channel;
use crate::backplane::contract::Backplane;
use crate::backplane::envelope::{Heartbeat, RollCall};
use crate::backplane::health::events;

/// The time from the first sending of a roll call to the second. A call is repeated, with the same
/// number, until the hold ends or a new call begins (invariant 4). The time doubles with each
/// repetition. A node that was not subscribed when the call was sent receives a repetition.
const CALL_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// The longest time between two repetitions of a call. With 4,096 channels, a call takes 300 KB.
const CALL_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// A hold that is under way.
pub(crate) struct Hold {
    /// When the hold ends without the nodes that are absent (invariant 2).
    over_at: Instant,
    next_call: Instant,
    /// The time from the next sending of the call to the one after it.
    interval: Duration,
    /// The number of the roll call.
    number: u64,
}

impl Hold {
    /// When the hold has something to do next.
    pub(crate) fn due(&self) -> Instant {
        self.over_at.min(self.next_call)
    }
}

impl<B: Backplane> Publishing<B> {
    /// Expects the nodes that are known now to come back, because the backplane fails.
    pub(crate) fn expect_nodes(&self) {
        let peers = self.deps.fleet.roster.peers();
        self.deps.fleet.attendance.expect(peers.iter().map(|peer| peer.node));
    }

    /// Holds all messages after a break, if other nodes were known before.
    pub(crate) fn begin_hold(&mut self) {
        self.packing.break_off();
        self.hold = None;
        self.hold_waiting();
    }

    /// Stalls the channels that the backplane has refused, until they are tried again.
    pub(crate) fn refuse(&mut self) {
        self.deps.outbox.set_flowing(false);
        self.forget_beat();
        self.packing.refuse();
        self.expect_nodes();
        if !self.packing.has_waiting() {
            self.hold = None;
            self.deps.halves.health.awaited_nodes.set(0);
        }
    }

    /// Tries the refused channels again.
    pub(crate) fn retry(&mut self) {
        for channel in self.packing.retry() {
            self.packing.post_heartbeat(channel, &Heartbeat::default());
        }
        self.hold_waiting();
    }

    /// Begins a roll call for the waiting channels. If no node is expected, the channels open at
    /// once.
    fn hold_waiting(&mut self) {
        let Some(number) = self.deps.fleet.attendance.call() else { return self.release() };
        let now = Instant::now();
        // Invariant 4.
        let over_at = self.hold.as_ref().map_or(now + self.deps.rejoin_wait, |hold| hold.over_at);
        self.hold = Some(Hold { over_at, next_call: now, interval: CALL_INTERVAL_MIN, number });
        self.update_awaited_nodes();
    }

    /// Calls the roll on the waiting channels and the common one (invariant 3).
    pub(crate) fn call_if_due(&mut self) {
        let Some(hold) = &mut self.hold else { return };
        let now = Instant::now();
        if now < hold.next_call {
            return;
        }
        hold.next_call = now + hold.interval;
        hold.interval = (2 * hold.interval).min(CALL_INTERVAL_MAX);
        let number = hold.number;
        let waiting = self.packing.waiting();
        let channels = waiting.iter().map(|channel| channel.number()).collect();
        for channel in waiting {
            self.post_call(channel, RollCall { number, channels: Box::default() });
        }
        self.post_call(Channel::COMMON, RollCall { number, channels });
    }

    fn post_call(&mut self, channel: Channel, call: RollCall) {
        let heartbeat = Heartbeat { roll_call: Some(call), ..Heartbeat::default() };
        self.packing.post_heartbeat(channel, &heartbeat);
    }

    /// Ends the hold when all nodes are back, or the time is up (invariant 2).
    pub(crate) fn end_hold_if_over(&mut self) {
        let Some(hold) = &self.hold else { return };
        let absent = self.deps.fleet.attendance.absent();
        if !absent.is_empty() && Instant::now() < hold.over_at {
            return self.update_awaited_nodes();
        }
        let messages = self.deps.outbox.len() as u64 + self.packing.messages();
        if messages > 0 {
            for node in absent {
                self.deps.halves.health.unreached(node, messages);
                events::node_absent(self.deps.fleet.node, node, messages);
            }
        }
        self.release();
    }

    /// Ends the hold: all channels open that the backplane does not refuse.
    pub(crate) fn release(&mut self) {
        self.hold = None;
        self.deps.fleet.attendance.dismiss();
        self.update_awaited_nodes();
        self.packing.resume();
    }

    fn update_awaited_nodes(&self) {
        let absent = self.deps.fleet.attendance.absent().len();
        self.deps.halves.health.awaited_nodes.set(absent as u64);
    }

    /// Answers the calls of other nodes.
    pub(crate) fn answer_calls(&mut self) {
        let answers = self.deps.fleet.attendance.take_owed();
        if !answers.is_empty() {
            self.answering.extend(&answers);
            let heartbeat = Heartbeat { answers, ..Heartbeat::default() };
            self.packing.post_heartbeat(Channel::COMMON, &heartbeat);
        }
    }

    /// Notes that answers which may not have arrived are owed again.
    pub(crate) fn forget_answers(&mut self) {
        for answer in self.answering.drain(..) {
            self.deps.fleet.attendance.owe_again(answer);
        }
    }
}
