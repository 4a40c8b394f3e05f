//! From messages that wait to numbered envelopes that are ready to be published.
//!
//! A channel that the backplane cannot take at the moment is *stalled*: its envelopes are set aside,
//! and its messages are held behind them, unnumbered, while those of the others go on. What is held
//! is bounded as the outbox is, and the oldest go first.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use super::channels::Channel;
use super::contract::Parcel;
use super::envelope::{self, ENVELOPE_BYTES_MAX, ENVELOPE_MESSAGES_MAX, Header, Packer};
use super::outbox::Outgoing;
use super::shared::Shared;

/// The bytes of envelopes that are published with one round trip: enough that the round trip is
/// hidden by the work, and what is sent twice after a failure stays small.
const PIPELINE_BYTES_MAX: usize = 8 * ENVELOPE_BYTES_MAX;

/// The messages that are gathered at once, which is what holds a worker thread: about 2 ms.
const PIPELINE_MESSAGES_MAX: usize = 8 * ENVELOPE_MESSAGES_MAX;

/// The envelopes of a node, and the messages that become envelopes.
pub(super) struct Packing {
    shared: Arc<Shared>,
    /// The number that the next message gets, by channel.
    sequences: Box<[u64]>,
    /// While a batch is gathered, the place of each channel's envelope among the open ones.
    open_at: Box<[Option<usize>]>,
    /// What is to be published, or was and has not been acknowledged.
    pub(super) ready: Vec<Parcel>,
    /// Envelopes of stalled channels.
    aside: Vec<Parcel>,
    is_stalled: Box<[bool]>,
    held: Held,
}

/// Messages of stalled channels, the oldest first.
#[derive(Default)]
struct Held {
    messages: VecDeque<Outgoing>,
    bytes: usize,
    /// Whether some may not be stalled any more.
    is_to_be_sifted: bool,
}

/// What a batch has room for.
struct Room {
    bytes: usize,
    messages: usize,
}

impl Room {
    fn is_left(&self) -> bool {
        self.bytes > 0 && self.messages > 0
    }

    fn take(&mut self, outgoing: &Outgoing) {
        self.bytes = self.bytes.saturating_sub(outgoing.message.len());
        self.messages -= 1;
    }
}

impl Packing {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            sequences: shared.channels.all().map(|_| 0).collect(),
            open_at: shared.channels.all().map(|_| None).collect(),
            is_stalled: shared.channels.all().map(|_| false).collect(),
            shared,
            ready: Vec::new(),
            aside: Vec::new(),
            held: Held::default(),
        }
    }

    /// Whether messages were ever published on a channel.
    pub(super) fn has_used(&self, channel: Channel) -> bool {
        self.sequences[channel.index()] > 0
    }

    pub(super) fn is_stalled(&self, channel: Channel) -> bool {
        self.is_stalled[channel.index()]
    }

    /// Whether any channel is stalled.
    pub(super) fn has_stalled(&self) -> bool {
        !self.aside.is_empty()
    }

    /// The messages that have left the outbox and are not acknowledged.
    fn messages(&self) -> u64 {
        count(&self.ready) + count(&self.aside) + self.held.messages.len() as u64
    }

    /// Moves what waits into envelopes, as much as one round trip may carry; `true` if anything has
    /// waited.
    pub(super) fn gather(&mut self) -> bool {
        self.shared.outbox.progress().carry();
        let bytes: usize = self.ready.iter().map(|parcel| parcel.payload.len()).sum();
        let mut room = Room {
            bytes: PIPELINE_BYTES_MAX.saturating_sub(bytes),
            messages: PIPELINE_MESSAGES_MAX,
        };
        let mut open = Vec::new();
        if mem::take(&mut self.held.is_to_be_sifted) {
            self.sift(&mut room, &mut open);
        }
        while room.is_left()
            && let Some(outgoing) = self.shared.outbox.pop()
        {
            room.take(&outgoing);
            match self.is_stalled(outgoing.channel) {
                true => self.hold(outgoing),
                false => self.pack(outgoing, &mut open),
            }
        }
        for (channel, packer) in open {
            self.open_at[channel.index()] = None;
            self.seal(channel, packer);
        }
        self.tell();
        room.messages < PIPELINE_MESSAGES_MAX
    }

    /// Tells how many messages are on their way, and those that wait for it when there are none.
    pub(super) fn tell(&self) {
        let messages = self.messages();
        self.shared.health.in_flight.set(messages);
        if messages == 0 {
            self.shared.outbox.progress().settle();
        }
    }

    /// Goes through what is held, for what is not stalled any more.
    fn sift(&mut self, room: &mut Room, open: &mut Vec<(Channel, Packer)>) {
        for outgoing in mem::take(&mut self.held).messages {
            self.held.is_to_be_sifted |= !room.is_left();
            if self.held.is_to_be_sifted || self.is_stalled(outgoing.channel) {
                self.hold(outgoing);
            } else {
                room.take(&outgoing);
                self.pack(outgoing, open);
            }
        }
    }

    fn hold(&mut self, outgoing: Outgoing) {
        let limits = self.shared.outbox.limits();
        self.held.bytes += outgoing.message.len();
        self.held.messages.push_back(outgoing);
        while self.held.messages.len() > limits.messages || self.held.bytes > limits.bytes {
            let Some(oldest) = self.held.messages.pop_front() else { return };
            self.held.bytes -= oldest.message.len();
            self.shared.health.counters.dropped.add(1);
        }
    }

    fn pack(&mut self, outgoing: Outgoing, open: &mut Vec<(Channel, Packer)>) {
        let Outgoing { channel, message } = outgoing;
        let at = *self.open_at[channel.index()].get_or_insert_with(|| {
            open.push((channel, Packer::new()));
            open.len() - 1
        });
        let packer = &mut open[at].1;
        if !packer.fits(message.len()) {
            let full = mem::replace(packer, Packer::new());
            self.seal(channel, full);
        }
        open[at].1.push(&message);
    }

    fn seal(&mut self, channel: Channel, packer: Packer) {
        let header = self.header(channel);
        self.sequences[channel.index()] += packer.count() as u64;
        self.post(channel, packer.seal(header));
    }

    /// Adds an envelope to what is ready.
    pub(super) fn post(&mut self, channel: Channel, envelope: Vec<u8>) {
        let channel = self.shared.channels.name(channel).clone();
        let payload = self.shared.signing.seal(&channel, envelope);
        self.ready.push(Parcel { channel, payload });
    }

    pub(super) fn header(&self, channel: Channel) -> Header {
        let Shared { node, epoch, .. } = *self.shared;
        Header { node, epoch, first: self.sequences[channel.index()] }
    }

    /// Drops heartbeats that have not left: they would tell of the past.
    pub(super) fn drop_heartbeats(&mut self) {
        self.ready.retain(|parcel| envelope::count(&parcel.payload) > 0);
    }

    /// Sets what is ready aside, and stalls its channels.
    pub(super) fn stall(&mut self) {
        self.drop_heartbeats();
        for parcel in self.ready.drain(..) {
            if let Some(channel) = self.shared.channels.find(&parcel.channel) {
                self.is_stalled[channel.index()] = true;
            }
            self.aside.push(parcel);
        }
    }

    /// Makes what was set aside ready again, before anything else.
    pub(super) fn resume(&mut self) {
        self.aside.append(&mut self.ready);
        mem::swap(&mut self.aside, &mut self.ready);
        self.is_stalled.fill(false);
        self.held.is_to_be_sifted = true;
    }
}

/// The messages in these envelopes.
pub(super) fn count(parcels: &[Parcel]) -> u64 {
    parcels.iter().map(|parcel| u64::from(envelope::count(&parcel.payload))).sum()
}
