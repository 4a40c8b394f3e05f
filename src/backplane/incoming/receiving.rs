//! The receiving task: reads the envelopes of other nodes, and delivers their messages to the
//! members here.
//!
//! # Invariants
//! 1. This task alone takes payloads from the queue, and handles them in order. So the messages of
//!    one node on one channel reach the shards in the order in which they were published.
//! 2. The ledger counts an envelope before its messages are delivered. A message that arrives a
//!    second time is counted as a duplicate and skipped, so each message is delivered at most once.
//! 3. A run only holds neighbouring messages for the same members, and an action is a run of its
//!    own. A run is delivered before the next one begins, so runs keep the order of their messages.
//! 4. The task waits for a busy shard instead of dropping a message. Only the queue in front of the
//!    task drops payloads, and it counts them.
//! 5. A roll call is answered after it has arrived by every channel that it lists and that this
//!    node follows. The call on the common channel is the sender's last. When it arrives, this task
//!    checks whether the calls on the other channels have arrived. If some have not, there is no
//!    answer, and the sender repeats the call.

use std::mem;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use tokio::task::coop;

use crate::backplane::channels::{Channel, Channels};
use crate::backplane::envelope::{
    Envelope, EnvelopeBody, EnvelopeHeader, Heartbeat, MessageContent, RollCall, RollCallAnswer,
    Signing, Unreadable, WireMessage, WireMessages,
};
use crate::backplane::health::Health;
use crate::backplane::health::events;
use crate::backplane::health::rejected::Rejected;
use crate::backplane::identity::NodeId;
use crate::backplane::incoming::ledger::SequenceLedger;
use crate::backplane::incoming::queue::{IncomingQueue, ReceiveEvent};
use crate::backplane::nodes::fleet::Fleet;
use crate::backplane::subscriptions::interest::Interest;
use crate::backplane::target::To;
use crate::backplane::this_node::ThisNode;
use crate::engine::{Action, FrameKind, Frames, copy_for_many, frame};
use crate::telemetry::Throttle;

/// The parts of the bridge that the receiving task uses.
pub(crate) struct Deps {
    pub(crate) queue: Arc<IncomingQueue>,
    pub(crate) signing: Signing,
    pub(crate) channels: Arc<Channels>,
    pub(crate) interest: Arc<Interest>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) health: Arc<Health>,
    /// Upgrades until the hub is dropped.
    pub(crate) here: Weak<dyn ThisNode>,
    /// The most bytes of frames that are handed to members at once.
    pub(crate) run_bytes_max: usize,
}

/// The state of the receiving task.
pub(crate) struct Receiving {
    deps: Deps,
    ledger: SequenceLedger,
    run: FrameRun,
    /// Lost messages that were not reported yet.
    lost: Throttle,
}

impl Receiving {
    pub(crate) fn new(deps: Deps) -> Self {
        Self {
            deps,
            ledger: SequenceLedger::default(),
            run: FrameRun::default(),
            lost: Throttle::default(),
        }
    }

    /// Receives until the hub is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            match self.deps.queue.next().await {
                ReceiveEvent::Payload(channel, payload) => {
                    let Some(here) = self.deps.here.upgrade() else { return };
                    self.receive(channel, &payload, &*here).await;
                }
                ReceiveEvent::Unsubscribed(channel) => self.ledger.pause(channel),
            }
        }
    }

    async fn receive(&mut self, channel: Channel, payload: &Bytes, here: &dyn ThisNode) {
        let health = &self.deps.health;
        match self.deps.signing.parse(payload) {
            Ok(Envelope { header, body: EnvelopeBody::Messages(messages) }) => {
                self.deliver_new(channel, header, messages, here).await;
            }
            Ok(Envelope { header, body: EnvelopeBody::Heartbeat(heartbeat) }) => {
                self.receive_heartbeat(channel, header, heartbeat);
            }
            Err(Unreadable::Garbage) => health.rejected(Rejected::Garbage),
            Err(Unreadable::UnknownVersion) => health.rejected(Rejected::UnknownVersion),
        }
    }

    /// Delivers the messages that have not arrived before. Neighbours for the same members are
    /// delivered as one run of frames (invariant 3).
    async fn deliver_new(
        &mut self,
        channel: Channel,
        header: EnvelopeHeader,
        messages: WireMessages<'_>,
        here: &dyn ThisNode,
    ) {
        // Invariant 2.
        let duplicates = self.enter(channel, header, messages.left().into());
        let mut messages = messages.skip(duplicates as usize);
        let Some(mut first) = messages.next() else { return };
        self.run.append(&first);
        for message in messages {
            if !self.run.can_append(&first, &message, self.deps.run_bytes_max) {
                self.deliver_run(&first, here).await;
                first = message.clone();
            }
            self.run.append(&message);
        }
        self.deliver_run(&first, here).await;
    }

    /// Enters an envelope in the ledger (invariant 2), and returns the number of messages to skip.
    fn enter(&mut self, channel: Channel, header: EnvelopeHeader, count: u64) -> u64 {
        let EnvelopeHeader { node, epoch, first } = header;
        let entry = self.ledger.enter(node, channel, epoch, first, count);
        self.deps.health.counters.lost.add(entry.lost);
        if let Some(lost) = self.lost.add(entry.lost) {
            events::messages_lost(self.deps.fleet.node, lost);
        }
        self.deps.health.counters.duplicates.add(entry.duplicates);
        self.deps.health.counters.unlisted_nodes.add(entry.forgotten);
        entry.duplicates
    }

    /// Delivers the run to the targets of its first message.
    async fn deliver_run(&mut self, first: &WireMessage<'_>, here: &dyn ThisNode) {
        let FrameRun { frames, stays_plain, messages, unsendable } = &mut self.run;
        let counters = &self.deps.health.counters;
        counters.received.add(mem::take(messages));
        counters.garbage.add(mem::take(unsendable));
        if !frames.is_empty() {
            let run = Frames::from(copy_for_many(frames));
            let run = if *stays_plain { run.uncompressed() } else { run };
            frames.clear();
            // A single large message may have made the buffer large.
            frames.shrink_to(2 * self.deps.run_bytes_max);
            self.deliver(first, &run, here).await;
        }
        if let MessageContent::Action(action) = first.content {
            self.act(first, action, here).await;
        }
        // Long envelopes must not keep the worker thread from other tasks.
        coop::consume_budget().await;
    }

    /// Hands frames to the targets of a message that are on this node.
    async fn deliver(&self, message: &WireMessage<'_>, frames: &Frames, here: &dyn ThisNode) {
        let node = self.deps.fleet.node;
        let target = To::from(message.target.clone());
        let Some(address) = target.address().on(node) else { return };
        let except = message.excepted_on(node);
        // Invariant 4.
        here.deliver_in_time(address, &except, frames).await;
    }

    /// Applies an action to the targets of a message that are on this node.
    async fn act(&self, message: &WireMessage<'_>, action: Action<'_>, here: &dyn ThisNode) {
        let node = self.deps.fleet.node;
        let target = To::from(message.target.clone());
        let Some(address) = target.address().on(node) else { return };
        let except = message.excepted_on(node);
        // Invariant 4.
        if here.act(address, &except, action).is_err() {
            here.act_later(address, &except, action).await;
        }
    }

    /// Takes in a heartbeat: its sequence number, and each part that it has.
    fn receive_heartbeat(
        &mut self,
        channel: Channel,
        header: EnvelopeHeader,
        heartbeat: Heartbeat,
    ) {
        self.enter(channel, header, 0);
        if let Some(report) = heartbeat.report {
            let is_listed = self.deps.fleet.roster.record(header.node, header.epoch, report);
            self.deps.health.counters.unlisted_nodes.add(u64::from(!is_listed));
            self.deps.fleet.compare_spreads();
        }
        if let Some(call) = heartbeat.roll_call {
            self.receive_roll_call(channel, header.node, &call);
        }
        self.receive_answers(header.node, &heartbeat.answers);
        if heartbeat.leaving {
            self.forget(header.node);
        }
        if heartbeat.wants_answer {
            self.deps.fleet.request_heartbeat();
        }
    }

    /// Forgets a node that has said goodbye.
    fn forget(&self, node: NodeId) {
        self.deps.fleet.roster.forget(node);
        self.deps.fleet.compare_spreads();
        if self.deps.fleet.attendance.forget(node) {
            self.deps.fleet.wake_publishing();
        }
    }

    /// Notes the answers of a node to roll calls of this node.
    fn receive_answers(&self, node: NodeId, answers: &[RollCallAnswer]) {
        let ours = answers.iter().filter(|answer| answer.caller == self.deps.fleet.node);
        let mut news =
            ours.filter(|answer| self.deps.fleet.attendance.answered(node, answer.number));
        if news.next().is_some() {
            self.deps.fleet.wake_publishing();
        }
    }

    /// Notes a roll call, and owes the answer once the call is complete (invariant 5).
    fn receive_roll_call(&mut self, channel: Channel, node: NodeId, call: &RollCall) {
        self.ledger.record_roll_call(node, channel, call.number);
        let channels =
            call.channels.iter().filter_map(|&number| self.deps.channels.numbered(number));
        let mut followed = channels.filter(|&channel| self.deps.interest.is_followed(channel));
        let has_come = |channel| self.ledger.has_roll_call(node, channel, call.number);
        if channel == Channel::COMMON && followed.all(has_come) {
            self.deps.fleet.attendance.owe(RollCallAnswer { caller: node, number: call.number });
            self.deps.fleet.wake_publishing();
        }
    }
}

/// Frames for the same members, and the number of messages in them.
#[derive(Debug, Default)]
struct FrameRun {
    /// The buffer is used again for the next run.
    frames: Vec<u8>,
    /// Whether the messages must not be compressed.
    stays_plain: bool,
    messages: u64,
    /// Text messages that are not UTF-8, which no client accepts.
    unsendable: u64,
}

impl FrameRun {
    /// Whether a message may join the run that began with `first` (invariant 3).
    fn can_append(
        &self,
        first: &WireMessage<'_>,
        message: &WireMessage<'_>,
        bytes_max: usize,
    ) -> bool {
        let MessageContent::Payload { payload, is_compressible, .. } = message.content else {
            return false;
        };
        matches!(first.content, MessageContent::Payload { .. })
            && is_compressible != self.stays_plain
            && message.target == first.target
            && message.except == first.except
            && self.frames.len() + frame::bytes_for(payload.len()) <= bytes_max
    }

    fn append(&mut self, message: &WireMessage<'_>) {
        let MessageContent::Payload { kind, payload, is_compressible } = message.content else {
            self.messages += 1;
            return;
        };
        self.stays_plain = !is_compressible;
        // A client must close its connection over a text message that is not UTF-8 (RFC 6455, 8.1).
        let is_sendable = kind == FrameKind::Binary || simdutf8::basic::from_utf8(payload).is_ok();
        if is_sendable {
            self.messages += 1;
            frame::append(&mut self.frames, kind, payload);
        } else {
            self.unsendable += 1;
        }
    }
}
