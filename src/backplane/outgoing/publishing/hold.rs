//! After a break, messages wait until the nodes that were there before are back.
//!
//! A server that is back acknowledges messages even if nobody is subscribed. So the publishing task calls the roll first, and lets messages flow when each
//! node that it knew before the break has [answered](crate::backplane::attendance), or when their time is
//! up. What is published meanwhile waits behind. Nodes that are not back by then are counted, with what
//! they miss.

use std::time::Duration;

use tokio::time::Instant;

use super::Publishing;
use crate::backplane::channels::Channel;
use crate::backplane::contract::Backplane;
use crate::backplane::envelope::{Heartbeat, RollCall};
use crate::backplane::health::events;

/// The time from the first roll call to the second, which doubles from call to call. A node that was not
/// subscribed at the time of a call waits for the next one.
const CALL_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// The longest time between two roll calls. With 4,096 channels, a call has 300 KB.
const CALL_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// Messages are held back.
pub(crate) struct Hold {
    /// When nodes that are not back are waited for no longer.
    over_at: Instant,
    next_call: Instant,
    /// The time from the next call to the one after it.
    interval: Duration,
    /// The number of the roll call.
    number: u64,
}

impl Hold {
    /// When it has something to do.
    pub(crate) fn due(&self) -> Instant {
        self.over_at.min(self.next_call)
    }
}

impl<B: Backplane> Publishing<B> {
    /// Notes the nodes that there are, now that the backplane fails.
    pub(crate) fn expect_nodes(&self) {
        let peers = self.deps.fleet.roster.peers();
        self.deps.fleet.attendance.expect(peers.iter().map(|peer| peer.node));
    }

    /// Holds everything back after a break, if there were other nodes before.
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

    /// Tries the channels that were refused.
    pub(crate) fn retry(&mut self) {
        for channel in self.packing.retry() {
            self.packing.post_heartbeat(channel, &Heartbeat::default());
        }
        self.hold_waiting();
    }

    /// Begins a roll call for the waiting channels. If no node is expected, the channels flow.
    fn hold_waiting(&mut self) {
        let Some(number) = self.deps.fleet.attendance.call() else { return self.release() };
        let now = Instant::now();
        // Channels that join a hold do not make it longer.
        let over_at = self.hold.as_ref().map_or(now + self.deps.rejoin_wait, |hold| hold.over_at);
        self.hold = Some(Hold { over_at, next_call: now, interval: CALL_INTERVAL_MIN, number });
        self.tell_hold();
    }

    /// Calls the roll on the channels that wait. The call on the common channel is the last: the calls on the other
    /// channels should have arrived before it.
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

    /// Lets messages flow when all nodes are back, or their time is up.
    pub(crate) fn end_hold_if_over(&mut self) {
        let Some(hold) = &self.hold else { return };
        let absent = self.deps.fleet.attendance.absent();
        if !absent.is_empty() && Instant::now() < hold.over_at {
            return self.tell_hold();
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

    /// Lets everything flow that is not refused.
    pub(crate) fn release(&mut self) {
        self.hold = None;
        self.deps.fleet.attendance.dismiss();
        self.tell_hold();
        self.packing.resume();
    }

    fn tell_hold(&self) {
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

    /// Answers that may not have arrived are owed again.
    pub(crate) fn forget_answers(&mut self) {
        for answer in self.answering.drain(..) {
            self.deps.fleet.attendance.owe_again(answer);
        }
    }
}
