//! From messages that wait to numbered envelopes that are ready to be published.
//!
//! A channel that the backplane refuses at the moment is *stalled*: its envelopes are set aside, and its
//! messages are held behind them, unnumbered, while those of the others go on. A channel whose
//! subscribers are not back yet is stalled, too. Held messages have the bounds of the outbox; past them, the
//! oldest are dropped.

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

/// The envelopes of a node, and the messages that become envelopes.
pub(crate) struct Packing {
    deps: Deps,
    /// The number that the next message gets, by channel.
    sequences: Box<[u64]>,
    /// While a batch is gathered, the place of each channel's envelope among the open ones.
    open_at: Box<[Option<usize>]>,
    /// What is to be published, or was and has not been acknowledged.
    pub(crate) ready: Vec<Parcel>,
    /// Envelopes of stalled channels.
    aside: Vec<Parcel>,
    /// The number of the first message that is set aside, by channel.
    first_aside: HashMap<Channel, u64>,
    flows: Box<[ChannelFlow]>,
    held: HeldMessages,
}

/// Whether messages of a channel may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChannelFlow {
    Open,
    /// The backplane has refused them.
    Refused,
    /// They wait for nodes that are not back.
    Waiting,
}

/// Messages of stalled channels, the oldest first.
#[derive(Default)]
struct HeldMessages {
    messages: VecDeque<Outgoing>,
    bytes: usize,
    /// Whether some may leave now.
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

    /// The channels of rooms whose messages wait for nodes, if there ever were messages.
    pub(crate) fn waiting(&self) -> Vec<Channel> {
        let mut has_messages: Vec<bool> = self.sequences.iter().map(|&next| next > 0).collect();
        has_messages[Channel::COMMON.index()] = false;
        let held = self.held.messages.iter().filter(|held| held.channel != Channel::COMMON);
        held.for_each(|held| has_messages[held.channel.index()] = true);
        let is_waiting = |channel: &Channel| self.flows[channel.index()] == ChannelFlow::Waiting;
        let waiting = self.deps.channels.all().filter(is_waiting);
        waiting.filter(|channel| has_messages[channel.index()]).collect()
    }

    /// The messages that have left the outbox and are not acknowledged.
    pub(crate) fn messages(&self) -> u64 {
        message_count(&self.ready) + message_count(&self.aside) + self.held.messages.len() as u64
    }

    /// Moves what waits into envelopes, as much as one round trip may carry; `true` if anything has
    /// waited.
    pub(crate) fn gather(&mut self) -> bool {
        // Invariant 3 of `progress`: before anything is taken.
        self.deps.outbox.progress().carry();
        let bytes: usize = self.ready.iter().map(|parcel| parcel.payload.len()).sum();
        let mut space = BatchSpace {
            bytes: PIPELINE_BYTES_MAX.saturating_sub(bytes),
            messages: PIPELINE_MESSAGES_MAX,
        };
        let mut open = Vec::new();
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

    /// Publishes the number of messages on their way. If there are none, wakes those who wait for that.
    pub(crate) fn update_in_flight(&self) {
        let messages = self.messages();
        self.deps.health.in_flight.set(messages);
        if messages == 0 {
            // Invariants 3 and 4 of `progress`.
            self.deps.outbox.progress().settle();
        }
    }

    /// Goes through what is held, for what may leave now.
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
        let header = self.header(channel);
        self.sequences[channel.index()] += packer.count() as u64;
        self.post(channel, packer.seal(header));
    }

    fn post(&mut self, channel: Channel, envelope: Vec<u8>) {
        let channel = self.deps.channels.name(channel).clone();
        let payload = self.deps.signing.seal(&channel, envelope);
        self.ready.push(Parcel { channel, payload });
    }

    /// Adds a heartbeat to what is ready. It tells the number of the next message that leaves: one that
    /// is set aside is not lost.
    pub(crate) fn post_heartbeat(&mut self, channel: Channel, heartbeat: &Heartbeat) {
        let mut header = self.header(channel);
        header.first = self.first_aside.get(&channel).copied().unwrap_or(header.first);
        self.post(channel, heartbeat.seal(header));
    }

    fn header(&self, channel: Channel) -> EnvelopeHeader {
        let Fleet { node, epoch, .. } = *self.deps.fleet;
        EnvelopeHeader { node, epoch, first: self.sequences[channel.index()] }
    }

    /// Drops heartbeats that have not left: they would tell of the past.
    pub(crate) fn drop_heartbeats(&mut self) {
        self.ready.retain(|parcel| envelope::count(&parcel.payload) > 0);
    }

    /// Sets what was refused aside, and stalls its channels.
    pub(crate) fn refuse(&mut self) {
        for parcel in &self.ready {
            if let Some(channel) = self.deps.channels.find(&parcel.channel) {
                self.flows[channel.index()] = ChannelFlow::Refused;
            }
        }
        self.set_aside();
    }

    /// Stalls all channels until nodes are back, after a break of all.
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

    /// Has the channels that were refused wait until nodes are back, and returns them.
    pub(crate) fn retry(&mut self) -> Vec<Channel> {
        let is_refused = |channel: &Channel| self.is_refused(*channel);
        let refused: Vec<_> = self.deps.channels.all().filter(is_refused).collect();
        refused.iter().for_each(|channel| self.flows[channel.index()] = ChannelFlow::Waiting);
        refused
    }

    /// Opens the channels that were waiting. What was set aside leaves before anything else.
    pub(crate) fn resume(&mut self) {
        let waiting = self.flows.iter_mut().filter(|flow| **flow == ChannelFlow::Waiting);
        waiting.for_each(|flow| *flow = ChannelFlow::Open);
        self.first_aside.clear();
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

/// The messages in these envelopes.
pub(crate) fn message_count(parcels: &[Parcel]) -> u64 {
    parcels.iter().map(|parcel| u64::from(envelope::count(&parcel.payload))).sum()
}

/// The envelopes that have messages: all but heartbeats.
pub(crate) fn envelope_count(parcels: &[Parcel]) -> u64 {
    parcels.iter().filter(|parcel| envelope::count(&parcel.payload) > 0).count() as u64
}
