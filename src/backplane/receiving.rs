//! The receiving task: reads the envelopes of other nodes, and gives their messages to the members
//! here.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::coop;

use super::bridge::{Members, Shared};
use super::channels::Channel;
use super::contract::BackplaneError;
use super::envelope::{Body, Envelope, Header, Heartbeat, Message, Messages, Target, Unreadable};
use super::inbound::Received;
use super::ledger::Ledger;
use crate::engine::{Address, ConnKey, FrameKind, frame};

/// The state of the receiving task.
pub(super) struct Receiving {
    shared: Arc<Shared>,
    ledger: Ledger,
}

impl Receiving {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, ledger: Ledger::default() }
    }

    /// Receives until the hub goes.
    pub(super) async fn run(mut self) {
        loop {
            match self.shared.inbound.next().await {
                Received::Payload(channel, payload) => {
                    let Some(members) = self.shared.members.upgrade() else { return };
                    self.receive(channel, &payload, &*members).await;
                }
                Received::Unsubscribed(channel) => self.ledger.forget_channel(channel),
            }
        }
    }

    async fn receive(&mut self, channel: Channel, payload: &Bytes, members: &dyn Members) {
        let counters = &self.shared.health.counters;
        match Envelope::parse(payload) {
            Ok(Envelope { header, body: Body::Messages(messages) }) => {
                self.deliver_new(channel, header, messages, members).await;
            }
            Ok(Envelope { header, body: Body::Heartbeat(heartbeat) }) => {
                self.hear(channel, header, heartbeat);
            }
            Err(Unreadable::Garbage) => counters.garbage.add(1),
            Err(Unreadable::UnknownVersion) => counters.unknown_version.add(1),
        }
    }

    /// Delivers the messages that have not come before.
    async fn deliver_new(
        &mut self,
        channel: Channel,
        header: Header,
        messages: Messages<'_>,
        members: &dyn Members,
    ) {
        let duplicates = self.enter(channel, header, messages.left().into());
        for message in messages.skip(duplicates as usize) {
            self.deliver(&message, members).await;
            // A full envelope must not hold the worker thread.
            coop::consume_budget().await;
        }
    }

    /// Enters an envelope in the ledger, and says how many of its messages are to be skipped.
    fn enter(&mut self, channel: Channel, header: Header, count: u64) -> u64 {
        let Header { node, epoch, first } = header;
        let entry = self.ledger.enter(node, channel, epoch, first, count);
        self.shared.health.counters.lost.add(entry.lost);
        self.shared.health.counters.duplicates.add(entry.duplicates);
        entry.duplicates
    }

    async fn deliver(&self, message: &Message<'_>, members: &dyn Members) {
        let counters = &self.shared.health.counters;
        let is_text = message.kind == FrameKind::Text;
        if is_text && simdutf8::basic::from_utf8(message.payload).is_err() {
            // A client would have to close its connection over it (RFC 6455, section 8.1).
            counters.garbage.add(1);
            return;
        }
        counters.received.add(1);
        let node = self.shared.node;
        let rooms: Vec<String>;
        let address = match &message.target {
            Target::Everyone => Address::Everyone,
            Target::Room(room) => Address::Room(room),
            Target::Rooms(names) => {
                rooms = names.clone().map(str::to_owned).collect();
                Address::Rooms(&rooms)
            }
            Target::Conn(id) => match id.key_on(node) {
                Some(key) => Address::Conn(key),
                None => return,
            },
        };
        let except: Vec<ConnKey> =
            message.except.clone().filter_map(|id| id.key_on(node)).collect();
        let frame = frame::encode(message.kind, message.payload);
        // What has come this far is not lost to a shard that is busy: the queue before this task is
        // bounded, and counts what it has no room for.
        while members.deliver(address, &except, &frame).is_err() {
            members.room_to_deliver().await;
        }
    }

    fn hear(&mut self, channel: Channel, header: Header, heartbeat: Heartbeat) {
        self.enter(channel, header, 0);
        let roster = &self.shared.roster;
        if let Some(report) = heartbeat.report
            && !roster.hear(header.node, header.epoch, report)
        {
            self.shared.health.counters.unlisted_nodes.add(1);
        }
        if heartbeat.leaving {
            roster.forget(header.node);
        }
        if heartbeat.wants_answer {
            self.shared.beat_soon.notify_one();
        }
        self.compare_spreads();
    }

    /// A node that spreads rooms over another number of channels does not get what is sent to them.
    fn compare_spreads(&self) {
        let ours = self.shared.channels.spread();
        let peers = self.shared.roster.peers();
        let theirs = peers.iter().map(|peer| peer.report.spread).find(|&theirs| theirs != ours);
        let error = theirs.map(|theirs| BackplaneError::ChannelsDiffer { ours, theirs });
        self.shared.health.misfit(error);
    }
}
