//! The bounded queue between a driver and the receiving task: payloads that have arrived and not
//! been read.

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

/// The capacity. It holds what arrives at full speed (2 million small messages a second) while this
/// node, or its machine, pauses for 0.4 s: Redis goes on sending, and a payload that finds no space
/// is lost. With 32 MiB, a benchmark lost messages in one round of ten. The number of envelopes is
/// enough for messages that travel one by one in that time.
const LIMITS: InboxLimits = InboxLimits { messages: 65_536, bytes: 128 << 20 };

/// The queue, and the checks that a payload must pass before it takes space.
pub(crate) struct IncomingQueue {
    /// This node: its own envelopes are dropped.
    pub(crate) node: NodeId,
    pub(crate) channels: Arc<Channels>,
    pub(crate) signing: Signing,
    pub(crate) echoes: Arc<Echoes>,
    pub(crate) health: Arc<Health>,
    /// The queue for messages of other programs. It is a separate queue, so that other programs
    /// cannot take the space of the nodes.
    #[cfg(feature = "json")]
    pub(crate) plain: Option<Arc<Arrivals>>,
    /// The payloads that have passed the checks.
    pub(crate) received: Inbox<ReceiveEvent>,
}

/// A step of the receiving task, which handles its steps in order.
#[derive(Debug)]
pub(crate) enum ReceiveEvent {
    /// A payload of another node, or of a stranger.
    Payload(Channel, Bytes),
    /// This node has ended its subscription to the channel.
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
    /// An empty queue of the right capacity.
    pub(crate) fn inbox() -> Inbox<ReceiveEvent> {
        Inbox::new(LIMITS)
    }

    /// Waits for the next event. For the receiving task alone.
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped.
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
        // The signature comes first: without it nothing in the payload can be trusted, not even the
        // sender. A flood of strangers takes no space from the nodes.
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
        self.received.take_space();
        self.received.push(ReceiveEvent::Unsubscribed(channel));
    }

    fn queued(&self) -> usize {
        self.received.len()
    }
}
