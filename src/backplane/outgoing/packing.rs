//! Packing: puts messages from the outbox into numbered envelopes, which are then ready to be
//! published.
//!
//! # Invariants
//! 1. Messages of a channel leave in the order in which they were published. They get their
//!    sequence numbers when they are packed, so a message that is dropped before leaves no gap.
//! 2. An envelope keeps its numbers until it is acknowledged. It is either in `ready` or in
//!    `aside`.
//! 3. A channel is *open* or *stalled*. It is stalled if the backplane refuses it at the moment, or
//!    if nodes that listen to it are not back after a break.
//! 4. The envelopes of a stalled channel are set aside. Its later messages are held behind them,
//!    without numbers. The messages of open channels go on.
//! 5. When stalled channels open, their envelopes leave first, then the held messages, then newer
//!    messages: `resume` puts `aside` in front of `ready`, and `gather` sifts the held messages
//!    before it takes from the outbox.
//! 6. The held messages have the bounds of the outbox. Beyond these bounds, the oldest are dropped
//!    and counted.
//! 7. A heartbeat carries the number of the first message of its channel that may still leave.
//!    Otherwise receivers would count envelopes that are set aside as lost.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;

use crate::backplane::channels::{Channel, Channels};
use crate::backplane::contract::Parcel;
use crate::backplane::envelope::{self, EnvelopeHeader, Heartbeat, Packer, Signing};
use crate::backplane::health::Health;
use crate::backplane::nodes::fleet::Fleet;
use crate::backplane::outgoing::outbox::{
    Outbox, Outgoing, PIPELINE_BYTES_MAX, PIPELINE_MESSAGES_MAX,
};

/// The parts of the bridge that packing uses.
pub(crate) struct Deps {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) signing: Signing,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) health: Arc<Health>,
}

/// The envelopes of this node, and the messages that become envelopes.
pub(crate) struct Packing {
    deps: Deps,
    /// For each channel, the sequence number of the next message.
    sequences: Box<[u64]>,
    /// While a batch is gathered: for each channel, the position of its envelope among the
    /// unfinished ones.
    open_at: Box<[Option<usize>]>,
    /// Envelopes to publish, or published and not acknowledged.
    pub(crate) ready: Vec<Parcel>,
    /// Envelopes of stalled channels (invariant 4).
    aside: Vec<Parcel>,
    /// By channel, the sequence number of the first message that is set aside.
    first_aside: HashMap<Channel, u64>,
    flows: Box<[ChannelFlow]>,
    held: HeldMessages,
}

/// Whether the messages of a channel may leave (invariant 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChannelFlow {
    Open,
    /// The backplane has refused the channel.
    Refused,
    /// The messages wait for nodes that are not back.
    Waiting,
}

/// Messages of stalled channels, the oldest first.
#[derive(Default)]
struct HeldMessages {
    messages: VecDeque<Outgoing>,
    bytes: usize,
    /// Whether some of the messages may leave now.
    is_to_be_sifted: bool,
}

/// The space that is left in a batch.
struct BatchSpace {
    bytes: usize,
    messages: usize,
}

impl BatchSpace {
    fn is_left(&self) -> bool {
        self.bytes > 0 && self.messages > 0
    }

    fn take(&mut self, outgoing: &Outgoing) {
        self.bytes = self.bytes.saturating_sub(outgoing.message.len());
        self.messages -= 1;
    }
}

impl Packing {
    pub(crate) fn new(deps: Deps) -> Self {
        Self {
            sequences: deps.channels.all().map(|_| 0).collect(),
            open_at: deps.channels.all().map(|_| None).collect(),
            flows: deps.channels.all().map(|_| ChannelFlow::Open).collect(),
            deps,
            ready: Vec::new(),
            aside: Vec::new(),
            first_aside: HashMap::new(),
            held: HeldMessages::default(),
        }
    }

    /// Whether messages were ever published on a channel.
    pub(crate) fn has_used(&self, channel: Channel) -> bool {
        self.sequences[channel.index()] > 0
    }

    fn is_open(&self, channel: Channel) -> bool {
        self.flows[channel.index()] == ChannelFlow::Open
    }

    pub(crate) fn is_refused(&self, channel: Channel) -> bool {
        self.flows[channel.index()] == ChannelFlow::Refused
    }

    /// Whether the backplane refuses any channel.
    pub(crate) fn has_refused(&self) -> bool {
        self.flows.contains(&ChannelFlow::Refused)
    }

    /// Whether messages of any channel wait for nodes.
    pub(crate) fn has_waiting(&self) -> bool {
        self.flows.contains(&ChannelFlow::Waiting)
    }

    /// The channels of rooms that wait for nodes and have ever had messages.
    pub(crate) fn waiting(&self) -> Vec<Channel> {
        let mut has_messages: Vec<bool> = self.sequences.iter().map(|&next| next > 0).collect();
        has_messages[Channel::COMMON.index()] = false;
        let held = self.held.messages.iter().filter(|held| held.channel != Channel::COMMON);
        held.for_each(|held| has_messages[held.channel.index()] = true);
        let is_waiting = |channel: &Channel| self.flows[channel.index()] == ChannelFlow::Waiting;
        let waiting = self.deps.channels.all().filter(is_waiting);
        waiting.filter(|channel| has_messages[channel.index()]).collect()
    }

    /// The number of messages that have left the outbox and are not acknowledged.
    pub(crate) fn messages(&self) -> u64 {
        message_count(&self.ready) + message_count(&self.aside) + self.held.messages.len() as u64
    }

    /// Packs waiting messages, as many as one round trip may carry. Returns `true` if there were
    /// any.
    pub(crate) fn gather(&mut self) -> bool {
        // Invariant 3 of `progress`: before anything is taken.
        self.deps.outbox.progress().carry();
        let bytes: usize = self.ready.iter().map(|parcel| parcel.payload.len()).sum();
        let mut space = BatchSpace {
            bytes: PIPELINE_BYTES_MAX.saturating_sub(bytes),
            messages: PIPELINE_MESSAGES_MAX,
        };
        let mut open = Vec::new();
        // Invariant 5.
        if mem::take(&mut self.held.is_to_be_sifted) {
            self.sift(&mut space, &mut open);
        }
        while space.is_left()
            && let Some(outgoing) = self.deps.outbox.pop()
        {
            space.take(&outgoing);
            if self.is_open(outgoing.channel) {
                self.pack(outgoing, &mut open)
            } else {
                self.hold(outgoing)
            }
        }
        for (channel, packer) in open {
            self.open_at[channel.index()] = None;
            self.seal(channel, packer);
        }
        self.update_in_flight();
        self.deps.outbox.notify_space();
        space.messages < PIPELINE_MESSAGES_MAX
    }

    /// Updates the number of messages on their way in the health. If there are none, wakes the
    /// flushes that wait for that.
    pub(crate) fn update_in_flight(&self) {
        let messages = self.messages();
        self.deps.health.in_flight.set(messages);
        if messages == 0 {
            // Invariants 3 and 4 of `progress`.
            self.deps.outbox.progress().settle();
        }
    }

    /// Packs the held messages that may leave now, and holds the others again.
    fn sift(&mut self, space: &mut BatchSpace, open: &mut Vec<(Channel, Packer)>) {
        for outgoing in mem::take(&mut self.held).messages {
            self.held.is_to_be_sifted |= !space.is_left();
            if self.held.is_to_be_sifted || !self.is_open(outgoing.channel) {
                self.hold(outgoing);
            } else {
                space.take(&outgoing);
                self.pack(outgoing, open);
            }
        }
    }

    fn hold(&mut self, outgoing: Outgoing) {
        let limits = self.deps.outbox.limits();
        self.held.bytes += outgoing.message.len();
        self.held.messages.push_back(outgoing);
        // Invariant 6.
        while self.held.messages.len() > limits.messages || self.held.bytes > limits.bytes {
            let Some(oldest) = self.held.messages.pop_front() else { return };
            self.held.bytes -= oldest.message.len();
            self.deps.health.counters.dropped.add(1);
        }
    }

    fn pack(&mut self, outgoing: Outgoing, open: &mut Vec<(Channel, Packer)>) {
        let Outgoing { channel, message } = outgoing;
        let at = *self.open_at[channel.index()].get_or_insert_with(|| {
            open.push((channel, Packer::default()));
            open.len() - 1
        });
        let packer = &mut open[at].1;
        if !packer.fits(message.len()) {
            let full = mem::take(packer);
            self.seal(channel, full);
        }
        open[at].1.push(&message);
    }

    fn seal(&mut self, channel: Channel, packer: Packer) {
        // Invariant 1.
        let header = self.header(channel);
        self.sequences[channel.index()] += packer.count() as u64;
        self.post(channel, packer.seal(header));
    }

    fn post(&mut self, channel: Channel, envelope: Vec<u8>) {
        let channel = self.deps.channels.name(channel).clone();
        let payload = self.deps.signing.seal(&channel, envelope);
        self.ready.push(Parcel { channel, payload });
    }

    /// Adds a heartbeat to `ready` (invariant 7).
    pub(crate) fn post_heartbeat(&mut self, channel: Channel, heartbeat: &Heartbeat) {
        let mut header = self.header(channel);
        header.first = self.first_aside.get(&channel).copied().unwrap_or(header.first);
        self.post(channel, heartbeat.seal(header));
    }

    fn header(&self, channel: Channel) -> EnvelopeHeader {
        let Fleet { node, epoch, .. } = *self.deps.fleet;
        EnvelopeHeader { node, epoch, first: self.sequences[channel.index()] }
    }

    /// Drops heartbeats that have not left, because they are out of date.
    pub(crate) fn drop_heartbeats(&mut self) {
        self.ready.retain(|parcel| envelope::count(&parcel.payload) > 0);
    }

    /// Sets the refused envelopes aside, and stalls their channels.
    pub(crate) fn refuse(&mut self) {
        for parcel in &self.ready {
            if let Some(channel) = self.deps.channels.find(&parcel.channel) {
                self.flows[channel.index()] = ChannelFlow::Refused;
            }
        }
        self.set_aside();
    }

    /// Stalls all channels until nodes are back, after the connection broke.
    pub(crate) fn break_off(&mut self) {
        self.flows.fill(ChannelFlow::Waiting);
        self.set_aside();
    }

    fn set_aside(&mut self) {
        self.drop_heartbeats();
        for parcel in mem::take(&mut self.ready) {
            self.put_aside(parcel);
        }
    }

    fn put_aside(&mut self, parcel: Parcel) {
        let channel = self.deps.channels.find(&parcel.channel);
        if let Some((channel, first)) = channel.zip(envelope::first(&parcel.payload)) {
            self.first_aside.entry(channel).or_insert(first);
        }
        self.aside.push(parcel);
    }

    /// Lets the refused channels wait for nodes instead, and returns these channels.
    pub(crate) fn retry(&mut self) -> Vec<Channel> {
        let is_refused = |channel: &Channel| self.is_refused(*channel);
        let refused: Vec<_> = self.deps.channels.all().filter(is_refused).collect();
        refused.iter().for_each(|channel| self.flows[channel.index()] = ChannelFlow::Waiting);
        refused
    }

    /// Opens the channels that wait for nodes (invariant 5).
    pub(crate) fn resume(&mut self) {
        let waiting = self.flows.iter_mut().filter(|flow| **flow == ChannelFlow::Waiting);
        waiting.for_each(|flow| *flow = ChannelFlow::Open);
        self.first_aside.clear();
        // Invariant 5.
        let aside = mem::take(&mut self.aside);
        let newer = mem::take(&mut self.ready);
        for parcel in aside.into_iter().chain(newer) {
            let channel = self.deps.channels.find(&parcel.channel);
            if channel.is_some_and(|channel| self.is_refused(channel)) {
                self.put_aside(parcel)
            } else {
                self.ready.push(parcel)
            }
        }
        self.held.is_to_be_sifted = true;
    }
}

/// The number of messages in these envelopes.
pub(super) fn message_count(parcels: &[Parcel]) -> u64 {
    parcels.iter().map(|parcel| u64::from(envelope::count(&parcel.payload))).sum()
}

/// The number of envelopes that have messages, which heartbeats do not have.
pub(super) fn envelope_count(parcels: &[Parcel]) -> u64 {
    parcels.iter().filter(|parcel| envelope::count(&parcel.payload) > 0).count() as u64
}
