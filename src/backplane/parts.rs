//! The private parts of the backplane that models use. Only in builds for a model checker.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::channels::{Channel, Channels};
use super::health::Health;
use super::identity::NodeId;
use super::outgoing::outbox;
use super::subscriptions::interest;
use crate::engine::{InboxLimits, RoomWatch};

/// The outbox of a node that was never connected, and how far its messages have come.
pub struct Outbox {
    real: outbox::Outbox,
    health: Arc<Health>,
}

impl Outbox {
    /// An outbox that holds a number of messages.
    pub fn new(messages: usize) -> Self {
        let health = Arc::new(Health::new(NodeId::from_bytes([0; 16])));
        let limits = InboxLimits { messages, bytes: 1_000 };
        Self { real: outbox::Outbox::new(limits, health.clone()), health }
    }

    /// Queues a message, as a publisher that does not wait does.
    pub fn push(&self, message: u8) {
        let channel = Channel::COMMON;
        self.real.push(outbox::Outgoing { channel, message: vec![message] });
    }

    /// Takes the oldest message.
    pub fn pop(&self) -> Option<u8> {
        self.real.pop().map(|outgoing| outgoing.message[0])
    }

    /// Ready when there is something to take. For one thread alone.
    pub fn poll_filled(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.real.poll_filled(cx)
    }

    /// Says that the messages that are taken from now on are on their way.
    pub fn carry(&self) {
        self.real.progress().carry();
    }

    /// Says that no message is on its way.
    pub fn settle(&self) {
        self.real.progress().settle();
    }

    /// Waits as a flush does.
    pub fn all_settled(&self) -> impl Future<Output = ()> + '_ {
        self.real.progress().all_settled()
    }

    /// Messages that were dropped.
    pub fn dropped(&self) -> u64 {
        self.health.counters.dropped.get()
    }
}

/// The channels of a node that has two for rooms.
pub struct Interest {
    channels: Arc<Channels>,
    real: interest::Interest,
}

impl Interest {
    /// No channel of rooms is needed.
    #[expect(clippy::new_without_default, reason = "a model makes one")]
    pub fn new() -> Self {
        let channels = Arc::new(Channels::new("model", 2, None));
        Self { real: interest::Interest::new(channels.clone()), channels }
    }

    /// A room has its first member.
    pub fn made(&self, room: &str) {
        self.real.made(room);
    }

    /// A room has lost its last member.
    pub fn gone(&self, room: &str) {
        self.real.gone(room);
    }

    /// Whether the channel of a room is wanted.
    pub fn is_wanted(&self, room: &str) -> bool {
        self.real.wanted().contains(&self.channels.of_room(room))
    }

    /// Whether the channel of a room is subscribed to.
    pub fn is_subscribed(&self, room: &str) -> bool {
        self.real.is_subscribed(self.channels.of_room(room))
    }

    /// Subscribes to the channel of a room if it is wanted, as the subscribing task does.
    pub fn follow(&self, room: &str) {
        if self.is_wanted(room) {
            self.real.acknowledge(self.channels.of_room(room));
            self.real.notify_subscribed();
        }
    }

    /// Loses the subscription to the channel of a room.
    pub fn lose(&self, room: &str) {
        self.real.lose(self.channels.of_room(room));
    }

    /// Releases the channel of a room; `true` if it is to be unsubscribed.
    pub fn release(&self, room: &str) -> bool {
        self.real.release(self.channels.of_room(room))
    }

    /// Waits until a channel is newly wanted.
    pub async fn changed(&self) {
        self.real.changed().await;
    }

    /// Waits until the channel of a room is subscribed to.
    pub async fn subscribed_to(&self, room: &str) {
        self.real.subscribed_to(room).await;
    }
}
