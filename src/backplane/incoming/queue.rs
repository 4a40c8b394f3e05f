//! The payloads that have been received and not yet been read: the bounded queue between a driver and the
//! receiving task.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;

#[cfg(feature = "json")]
use super::plain::Arrivals;
use crate::backplane::channels::{Channel, Channels};
use crate::backplane::contract::Receive;
use crate::backplane::envelope::{self, Signing};
use crate::backplane::health::Health;
use crate::backplane::health::rejected::Rejected;
use crate::backplane::identity::NodeId;
use crate::backplane::subscriptions::echoes::Echoes;
use crate::engine::{Inbox, InboxLimits};

/// The capacity. At full speed (2 million small messages a second) that is what comes while this node, or the
/// machine that it is on, pauses for 0.4 s: Redis sends on meanwhile, and a payload that finds no space is lost.
/// With 32 MiB, a benchmark lost messages in one round of ten. The number of envelopes is that of lone messages
/// in the same time.
const LIMITS: InboxLimits = InboxLimits { messages: 65_536, bytes: 128 << 20 };

/// The queue, with the checks that a payload passes before it takes space.
pub(crate) struct IncomingQueue {
    pub(crate) node: NodeId,
    pub(crate) channels: Arc<Channels>,
    pub(crate) signing: Signing,
    pub(crate) echoes: Arc<Echoes>,
    pub(crate) health: Arc<Health>,
    /// Messages of other programs have a queue of their own, so that they cannot crowd out the nodes.
    #[cfg(feature = "json")]
    pub(crate) plain: Option<Arc<Arrivals>>,
    pub(crate) received: Inbox<ReceiveEvent>,
}

/// One thing that the receiving task handles. It handles them in order.
#[derive(Debug)]
pub(crate) enum ReceiveEvent {
    /// A payload of another node, or of a stranger.
    Payload(Channel, Bytes),
    /// This node does not listen to the channel any more.
    Unsubscribed(Channel),
}

impl ReceiveEvent {
    fn bytes(&self) -> usize {
        match self {
            Self::Payload(_, payload) => payload.len(),
            Self::Unsubscribed(_) => 0,
        }
    }
}

impl IncomingQueue {
    pub(crate) fn inbox() -> Inbox<ReceiveEvent> {
        Inbox::new(LIMITS)
    }

    /// Waits for the next one.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn next(&self) -> ReceiveEvent {
        let received = poll_fn(|cx| self.received.poll_pop(cx)).await;
        self.received.release(1, received.bytes());
        received
    }
}

impl Receive for IncomingQueue {
    fn receive(&self, channel: &str, payload: Bytes) {
        let Some(channel) = self.channels.find(channel) else { return };
        #[cfg(feature = "json")]
        if let Some(plain) = self.plain.as_ref().filter(|plain| plain.is_of(channel)) {
            self.echoes.arrived(channel, false);
            return plain.receive(payload);
        }
        // The signature comes first. Nothing in the payload is believed before, not even that it is our own, and
        // a flood of strangers takes no space from the nodes.
        let Some(payload) = self.signing.open(self.channels.name(channel), payload) else {
            self.echoes.arrived(channel, false);
            self.health.rejected(Rejected::Unauthenticated);
            return;
        };
        let is_ours = envelope::sender(&payload) == Some(self.node);
        self.echoes.arrived(channel, is_ours);
        if is_ours {
            return;
        }
        match self.received.reserve(payload.len()) {
            Ok(()) => self.received.push(ReceiveEvent::Payload(channel, payload)),
            Err(_) => self.health.counters.overrun.add(1),
        }
    }

    fn unsubscribed(&self, channel: Channel) {
        self.received.take_room();
        self.received.push(ReceiveEvent::Unsubscribed(channel));
    }

    fn queued(&self) -> usize {
        self.received.len()
    }
}
