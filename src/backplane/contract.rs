//! What carries envelopes between nodes: the contract, for drivers of one's own.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::channels::Channel;

/// Carries bytes between nodes, by named channels.
///
/// A driver moves payloads and says what went wrong; it knows nothing of rooms or messages. The hub
/// does the rest on top of it: it batches, numbers, connects again, subscribes again, probes, and
/// counts what was lost. So a driver neither retries nor waits for better times: it fails.
///
/// # The contract
/// - **Order**: what one publisher publishes on one channel arrives in that order at each subscriber
///   of the channel, but for what is lost. Channels need not keep an order among each other.
/// - **Loss**: a payload may be lost, whole. The hub numbers what it sends, and counts gaps.
/// - **Duplicates**: a payload may arrive more than once, as when a publish that had failed was
///   carried all the same, and is repeated. The hub drops the repetition.
/// - **Echo**: a node that subscribes to a channel gets what it publishes there itself. The hub
///   drops the echo, and takes it as the proof that the subscription lives.
/// - **Bounds**: a driver hands over what it receives to [`Inbound`] at once, which is bounded and
///   never waits. It keeps no queue of its own.
///
/// Each half is connected anew, with a back-off, after it has failed or has been silent for too
/// long; the old one is dropped first, and must then end its tasks and connections.
///
/// [`Local`](super::Local) is the smallest implementation.
pub trait Backplane: Send + Sync + 'static {
    /// The sending half.
    type Publisher: Publisher;
    /// The receiving half.
    type Subscriber: Subscriber;

    /// Connects the sending half. Given up after two seconds.
    ///
    /// # Errors
    /// Why it could not be connected.
    fn connect_publisher(
        &self,
    ) -> impl Future<Output = Result<Self::Publisher, BackplaneError>> + Send;

    /// Connects the receiving half, without subscriptions. Given up after two seconds.
    ///
    /// # Errors
    /// Why it could not be connected.
    fn connect_subscriber(
        &self,
        inbound: Inbound,
    ) -> impl Future<Output = Result<Self::Subscriber, BackplaneError>> + Send;

    /// Waits for news that make it worth while to connect at once, such as that a server has taken the
    /// place of another. Default: there are never any.
    ///
    /// A half that has failed waits for a back-off before it connects again; this ends the wait, and starts
    /// the back-off over. The hub calls it before it connects a half. So news count from the call on, whether
    /// or not the future has been polled.
    ///
    /// # Cancel safety
    /// The future is dropped when the wait ends otherwise; the next call begins anew.
    fn invites(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// A payload for a channel.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// The channel.
    pub channel: Arc<str>,
    /// The payload.
    pub payload: Bytes,
}

/// The sending half of a [`Backplane`].
pub trait Publisher: Send + 'static {
    /// Publishes the parcels in their order, and takes out of the list those that were acknowledged:
    /// of each channel the first ones, up to one that was not.
    ///
    /// All parcels of one channel are sent before any is waited for, so that a list costs one round
    /// trip. Given up after two seconds, and one more for each MiB.
    ///
    /// # Errors
    /// What remains in the list may or may not have been carried, and will be published again.
    ///
    /// # Cancel safety
    /// When the future is dropped, the publisher is, too. The list must be right at each await.
    fn publish(
        &mut self,
        parcels: &mut Vec<Parcel>,
    ) -> impl Future<Output = Result<(), Unpublished>> + Send;
}

/// What a [`Publisher`] could not publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpublished {
    /// Everything that remains, and it is of no use any more: another publisher will be connected.
    Everything(BackplaneError),
    /// What remains, which is of channels that it cannot serve at the moment. It goes on with the
    /// others, and is asked for these again within half a second.
    Channels(BackplaneError),
}

/// The receiving half of a [`Backplane`].
///
/// A connection that breaks must show in [`lost`](Self::lost). A request is given up when nothing
/// has arrived for two seconds, and after ten seconds in any case. Then the subscriber is dropped.
pub trait Subscriber: Send + 'static {
    /// Subscribes, and takes out of the list the channels that were acknowledged: what is published
    /// there from now on arrives. Subscribing twice is subscribing once. At most 512 channels.
    ///
    /// # Errors
    /// What remains in the list is not subscribed.
    fn subscribe(
        &mut self,
        channels: &mut Vec<Arc<str>>,
    ) -> impl Future<Output = Result<(), BackplaneError>> + Send;

    /// Ends subscriptions. It is no error where there is none. Nothing more arrives then.
    ///
    /// # Errors
    /// Why that failed.
    fn unsubscribe(
        &mut self,
        channels: &[Arc<str>],
    ) -> impl Future<Output = Result<(), BackplaneError>> + Send;

    /// A round trip on every connection that messages come by. What had been sent to this node
    /// before has arrived when it is over.
    ///
    /// # Errors
    /// Why that failed.
    fn ping(&mut self) -> impl Future<Output = Result<(), BackplaneError>> + Send;

    /// Waits until subscriptions are lost, and says which.
    ///
    /// # Cancel safety
    /// A loss is not forgotten when the future is dropped before it is ready.
    fn lost(&mut self) -> impl Future<Output = Lost> + Send;
}

/// The place where a driver puts the payloads that it receives. Clones are the same place.
#[derive(Clone)]
pub struct Inbound(Arc<dyn Receive>);

/// The hub's side of an [`Inbound`].
pub(crate) trait Receive: Send + Sync {
    /// Takes a payload that came by a channel.
    fn receive(&self, channel: &str, payload: Bytes);

    /// Notes, behind the payloads that have arrived, that this node does not listen to a channel any more.
    fn unsubscribed(&self, channel: Channel);

    /// The payloads that wait to be read.
    fn queued(&self) -> usize;
}

impl Inbound {
    pub(crate) fn new(receive: Arc<dyn Receive>) -> Self {
        Self(receive)
    }

    /// Takes a payload that came by a channel. Never waits: where there is no space, the payload is
    /// dropped, and the messages in it are counted as lost. With a key, its signature is checked
    /// here, at a cost that grows with its size.
    pub fn receive(&self, channel: &str, payload: Bytes) {
        self.0.receive(channel, payload);
    }

    pub(crate) fn unsubscribed(&self, channel: Channel) {
        self.0.unsubscribed(channel);
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("queued", &self.0.queued()).finish_non_exhaustive()
    }
}

/// What a [`Subscriber`] has lost.
#[derive(Debug, Clone)]
pub enum Lost {
    /// Everything: it is of no use any more.
    Everything(BackplaneError),
    /// Some channels. It goes on with the others, and can subscribe to these again.
    Channels(Vec<Arc<str>>, BackplaneError),
}

/// What is wrong with a backplane. It never holds a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackplaneError {
    /// The settings cannot work, such as a URL that cannot be read.
    #[error("backplane settings: {0}")]
    Settings(String),
    /// There is no connection, or it broke.
    #[error("backplane connection: {0}")]
    Connection(String),
    /// The server answered with an error: a wrong password, too many clients, no permission.
    #[error("backplane refused: {0}")]
    Refused(String),
    /// The server did not answer.
    #[error("backplane silent: no answer to {request} within {waited:?}")]
    Silent {
        /// What was asked.
        request: BackplaneRequest,
        /// How long was waited.
        waited: Duration,
    },
    /// The connection lives, but messages do not come by it any more.
    #[error("backplane subscription lost: {0}")]
    SubscriptionLost(String),
    /// The server is a replica: it acknowledges messages, and passes them on to nobody but its own
    /// subscribers. It is tried again; it may be promoted.
    #[error("backplane on a replica: {server} is a replica, and passes nothing on to its master")]
    Replica {
        /// Its address.
        server: String,
    },
    /// The hub's tasks for it have ended, with the runtime that the hub was built in or by a panic.
    #[error("backplane stopped: its tasks have ended, with their runtime or by a panic")]
    Stopped,
    /// Another node spreads rooms over another number of channels, so that messages to rooms do not
    /// reach each other.
    #[error("backplane channels differ: {theirs} on another node, {ours} here")]
    ChannelsDiffer {
        /// The setting of this node.
        ours: u16,
        /// The setting of the other one.
        theirs: u16,
    },
}

/// What a server was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackplaneRequest {
    /// To connect.
    Connect,
    /// To publish.
    Publish,
    /// To subscribe, or to end a subscription.
    Subscribe,
    /// To show that it lives.
    Ping,
}

impl fmt::Display for BackplaneRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Ping => "ping",
        })
    }
}
