//! What has been received and not yet given to members: the bounded queue between a driver and the
//! task that reads envelopes.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;

use crate::backplane::channels::{Channel, Channels};
use crate::backplane::envelope::{self, Signing};
use crate::backplane::health::Health;
use crate::backplane::health::rejected::Rejected;
use crate::backplane::identity::NodeId;
#[cfg(feature = "json")]
use crate::backplane::incoming::plain::Arrivals;
use crate::backplane::subscriptions::echoes::Echoes;
use crate::engine::{Inbox, InboxLimits};

/// What may wait. At full speed (2 million small messages a second) that is what comes while this
/// node, or the machine that it is on, pauses for 0.4 s: Redis sends on meanwhile, and what has no
/// room is lost. With 32 MiB, a benchmark lost messages in one round of ten. And as many envelopes as
/// lone messages make in that time.
const LIMITS: InboxLimits = InboxLimits { messages: 65_536, bytes: 128 << 20 };

/// Where a driver puts what it receives. Clones are the same place.
#[derive(Clone)]
pub struct Inbound {
    shared: Arc<Shared>,
}

struct Shared {
    own: NodeId,
    channels: Arc<Channels>,
    signing: Signing,
    echoes: Arc<Echoes>,
    health: Arc<Health>,
    queue: Inbox<Received>,
    /// What other programs publish has a queue of its own: none of it crowds the nodes out.
    #[cfg(feature = "json")]
    plain: Option<Arc<Arrivals>>,
}

/// What the receiving task is to handle, in order.
#[derive(Debug)]
pub(crate) enum Received {
    /// A payload of another node, or of a stranger.
    Payload(Channel, Bytes),
    /// The channel is not listened to any more.
    Unsubscribed(Channel),
}

impl Received {
    fn bytes(&self) -> usize {
        match self {
            Self::Payload(_, payload) => payload.len(),
            Self::Unsubscribed(_) => 0,
        }
    }
}

impl Inbound {
    pub(crate) fn new(
        own: NodeId,
        channels: Arc<Channels>,
        signing: Signing,
        echoes: Arc<Echoes>,
        health: Arc<Health>,
        #[cfg(feature = "json")] plain: Option<Arc<Arrivals>>,
    ) -> Self {
        let queue = Inbox::new(LIMITS);
        Self {
            shared: Arc::new(Shared {
                own,
                channels,
                signing,
                echoes,
                health,
                queue,
                #[cfg(feature = "json")]
                plain,
            }),
        }
    }

    /// Takes a payload that came by a channel. Never waits: where there is no space, the payload is
    /// dropped, and the messages in it are counted as lost. With a key, its signature is checked
    /// here, at a cost that grows with its size.
    pub fn receive(&self, channel: &str, payload: Bytes) {
        let Shared { own, channels, signing, echoes, health, queue, .. } = &*self.shared;
        let Some(channel) = channels.find(channel) else { return };
        #[cfg(feature = "json")]
        if let Some(plain) = self.shared.plain.as_ref().filter(|plain| plain.is_of(channel)) {
            echoes.arrived(channel, false);
            return plain.receive(payload);
        }
        // Before anything in it is believed, also that it is ours; and before it takes room, so that
        // a flood of strangers does not crowd the others out.
        let Some(payload) = signing.open(channels.name(channel), payload) else {
            echoes.arrived(channel, false);
            health.rejected(Rejected::Unauthenticated);
            return;
        };
        let is_ours = envelope::sender(&payload) == Some(*own);
        echoes.arrived(channel, is_ours);
        if is_ours {
            return;
        }
        match queue.reserve(payload.len()) {
            Ok(()) => queue.push(Received::Payload(channel, payload)),
            Err(_) => health.counters.overrun.add(1),
        }
    }

    /// Notes, behind what has arrived, that a channel is not listened to any more.
    pub(crate) fn unsubscribed(&self, channel: Channel) {
        self.shared.queue.take_room();
        self.shared.queue.push(Received::Unsubscribed(channel));
    }

    /// Waits for what comes next.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn next(&self) -> Received {
        let queue = &self.shared.queue;
        let received = poll_fn(|cx| queue.poll_pop(cx)).await;
        queue.release(1, received.bytes());
        received
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("queued", &self.shared.queue.len()).finish_non_exhaustive()
    }
}
