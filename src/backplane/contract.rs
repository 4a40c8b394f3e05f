//! The contract between the hub and a driver, which carries bytes between nodes. For people who
//! write a driver of their own.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::channels::Channel;

/// A driver: carries bytes between nodes, by named channels.
///
/// Implement this trait to connect hubs over something other than [`Local`](super::Local) or Redis,
/// and pass the driver to [`Builder::backplane`](crate::Builder::backplane). `Local` is the
/// smallest implementation.
///
/// A driver carries payloads and reports errors. It knows nothing of rooms or messages. The hub
/// does everything else: batches, sequence numbers, reconnecting, subscribing again, probes, and
/// counting what was lost. So a driver does not retry and does not wait for a server to come back:
/// it returns an error, and the hub connects that half again.
///
/// The hub chooses the names of the channels. It uses at most 4,098 of them: one common channel, up
/// to 4,096 for rooms, and a plain channel.
///
/// # The contract
/// - **Order**: the payloads that one publisher publishes on one channel arrive at each subscriber
///   of the channel in that order. Some may be missing. No order holds between channels.
/// - **Loss**: a payload may be lost, but only as a whole. The hub numbers its messages and counts
///   the gaps.
/// - **Duplicates**: a payload may arrive more than once, for example after a publish that failed
///   but was carried, and was then repeated. The hub drops the repetition.
/// - **Echo**: a node that is subscribed to a channel also receives its own payloads of the
///   channel. The hub drops them; their arrival proves that the subscription works. A driver that
///   suppresses the echo is taken for broken.
/// - **Bounds**: a driver passes each payload to [`Inbound::receive`] as soon as it arrives. That
///   call never waits, and the queue behind it is bounded. The driver keeps no queue of its own.
///
/// # Life of a half
/// The hub connects the sending and the receiving half separately. When a half fails or does not
/// answer in time, the hub drops it, waits for a back-off (from 0.1 s, doubling up to 10 s, with
/// jitter) and connects a new one. A half must end its tasks and connections when it is dropped.
/// A panic in a driver counts as a failed connection.
///
/// # Examples
/// A driver that adds to another driver. It counts the bytes that were acknowledged:
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use roomcast::{Backplane, BackplaneError, Hub, Inbound, Local, Parcel, Publisher, Unpublished};
///
/// struct Metered<B> {
///     driver: B,
///     bytes: Arc<AtomicUsize>,
/// }
///
/// impl<B: Backplane> Backplane for Metered<B> {
///     type Publisher = MeteredPublisher<B::Publisher>;
///     type Subscriber = B::Subscriber;
///
///     async fn connect_publisher(&self) -> Result<Self::Publisher, BackplaneError> {
///         let publisher = self.driver.connect_publisher().await?;
///         Ok(MeteredPublisher { publisher, bytes: self.bytes.clone() })
///     }
///
///     async fn connect_subscriber(&self, inbound: Inbound) -> Result<B::Subscriber, BackplaneError> {
///         self.driver.connect_subscriber(inbound).await
///     }
///
///     fn invites(&self) -> impl Future<Output = ()> + Send {
///         self.driver.invites()
///     }
/// }
///
/// struct MeteredPublisher<P> {
///     publisher: P,
///     bytes: Arc<AtomicUsize>,
/// }
///
/// impl<P: Publisher> Publisher for MeteredPublisher<P> {
///     async fn publish(&mut self, parcels: &mut Vec<Parcel>) -> Result<(), Unpublished> {
///         let bytes = |parcels: &[Parcel]| parcels.iter().map(|parcel| parcel.payload.len()).sum();
///         let before: usize = bytes(parcels);
///         let result = self.publisher.publish(parcels).await;
///         self.bytes.fetch_add(before - bytes(parcels), Ordering::Relaxed);
///         result
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bytes = Arc::new(AtomicUsize::new(0));
/// let driver = Metered { driver: Local::new(), bytes: bytes.clone() };
/// let hub = Hub::<String>::builder().backplane(driver, "chat").build()?;
/// # drop(hub);
/// # Ok(())
/// # }
/// ```
pub trait Backplane: Send + Sync + 'static {
    /// The sending half.
    type Publisher: Publisher;
    /// The receiving half.
    type Subscriber: Subscriber;

    /// Connects the sending half. The hub gives up after two seconds.
    ///
    /// # Errors
    /// The reason why no connection could be made. The hub tries again after the back-off.
    ///
    /// # Cancel safety
    /// The hub drops the future when the time is up. The driver must then drop what it has opened.
    fn connect_publisher(
        &self,
    ) -> impl Future<Output = Result<Self::Publisher, BackplaneError>> + Send;

    /// Connects the receiving half, without subscriptions. The hub gives up after two seconds.
    ///
    /// The half passes all payloads that it receives to `inbound`.
    ///
    /// # Errors
    /// The reason why no connection could be made. The hub tries again after the back-off.
    ///
    /// # Cancel safety
    /// The hub drops the future when the time is up. The driver must then drop what it has opened.
    fn connect_subscriber(
        &self,
        inbound: Inbound,
    ) -> impl Future<Output = Result<Self::Subscriber, BackplaneError>> + Send;

    /// Waits for a sign that a connection can succeed now, for example that a new server has taken
    /// over from a failed one. Default: waits for ever.
    ///
    /// A half that has failed waits for the back-off before it connects again. This future ends
    /// that wait, after 10 ms at least, and resets the back-off. The hub calls this method before
    /// each attempt to connect a half. A sign that comes after the call and before the first poll
    /// must not be lost.
    ///
    /// # Cancel safety
    /// The hub drops the future when the back-off is over, and calls the method again at the next
    /// attempt.
    fn invites(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// A payload and its channel.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// The name of the channel.
    pub channel: Arc<str>,
    /// The payload.
    pub payload: Bytes,
}

/// The sending half of a [`Backplane`].
pub trait Publisher: Send + 'static {
    /// Publishes the parcels in their order, and removes those that were acknowledged from the
    /// list.
    ///
    /// For each channel, the removed parcels are its first ones: a parcel stays in the list if an
    /// earlier parcel of its channel was not acknowledged. Send all parcels of one channel before
    /// you wait for an answer, so that a list costs one round trip. The hub gives up after two
    /// seconds, plus one second for each MiB of payloads.
    ///
    /// # Errors
    /// The remaining parcels may or may not have been carried. The hub publishes them again.
    ///
    /// # Cancel safety
    /// When the hub drops the future, it drops the publisher, too, and publishes again what is in
    /// the list. So the list must be right at each `await`.
    fn publish(
        &mut self,
        parcels: &mut Vec<Parcel>,
    ) -> impl Future<Output = Result<(), Unpublished>> + Send;
}

/// The reason why a [`Publisher`] has left parcels in the list, and what the hub does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpublished {
    /// The publisher is broken. The hub drops it and connects another one.
    Everything(BackplaneError),
    /// Only the channels of the remaining parcels fail at the moment. The publisher goes on with
    /// other channels, and the hub publishes the remaining parcels again within half a second.
    Channels(BackplaneError),
}

/// The receiving half of a [`Backplane`].
///
/// When the connection breaks, [`lost`](Self::lost) must report it. The hub sends a probe
/// ([`ping`](Self::ping)) every 4.5 seconds. The hub waits for the answer to a request in periods
/// of two seconds. It gives up after a period in which nothing arrived, and after five periods in
/// any case, and then drops the subscriber.
pub trait Subscriber: Send + 'static {
    /// Subscribes to channels, and removes those that were acknowledged from the list.
    ///
    /// Everything that is published on a removed channel from now on arrives. The hub asks for at
    /// most 512 channels at once. To subscribe to a channel twice is the same as once.
    ///
    /// # Errors
    /// The channels that remain in the list are not subscribed to. The subscriber stays in use, and
    /// the hub asks again for them within half a second. The exception is
    /// [`BackplaneError::Silent`]: the hub then drops the subscriber.
    fn subscribe(
        &mut self,
        channels: &mut Vec<Arc<str>>,
    ) -> impl Future<Output = Result<(), BackplaneError>> + Send;

    /// Ends subscriptions. After that, nothing arrives by these channels. A channel that is not
    /// subscribed to is no error.
    ///
    /// # Errors
    /// The reason why that failed. The hub then drops the subscriber.
    fn unsubscribe(
        &mut self,
        channels: &[Arc<str>],
    ) -> impl Future<Output = Result<(), BackplaneError>> + Send;

    /// Makes a round trip on every connection that carries messages to this node.
    ///
    /// Everything that was sent to this node before the call must have arrived at [`Inbound`] when
    /// the future is ready: if a heartbeat has not arrived by then, the hub concludes that it will
    /// never arrive.
    ///
    /// # Errors
    /// The reason why that failed. The hub then drops the subscriber.
    fn ping(&mut self) -> impl Future<Output = Result<(), BackplaneError>> + Send;

    /// Waits until subscriptions are lost, and returns which ones.
    ///
    /// # Cancel safety
    /// The hub often drops the future before it is ready. A loss must then be reported by the next
    /// call.
    fn lost(&mut self) -> impl Future<Output = Lost> + Send;
}

/// The queue of a hub for the payloads that a driver receives. Clones share the queue.
#[derive(Clone)]
pub struct Inbound(Arc<dyn Receive>);

/// The hub's side of an [`Inbound`].
pub(crate) trait Receive: Send + Sync {
    /// Queues a payload that arrived by a channel.
    fn receive(&self, channel: &str, payload: Bytes);

    /// Queues the note that this node has ended its subscription to a channel. Its place is behind
    /// the payloads that have arrived before.
    fn unsubscribed(&self, channel: Channel);

    /// The number of payloads and notes in the queue.
    fn queued(&self) -> usize;
}

impl Inbound {
    pub(crate) fn new(receive: Arc<dyn Receive>) -> Self {
        Self(receive)
    }

    /// Queues a payload that arrived by a channel. Never waits.
    ///
    /// If the queue (128 MiB or 65,536 payloads) is full, the payload is dropped, and its messages
    /// are counted as lost. A payload on a channel that the hub does not use is ignored. If the hub
    /// has a key, this call checks the signature, at a cost that grows with the size of the
    /// payload.
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

/// The subscriptions that a [`Subscriber`] has lost.
#[derive(Debug, Clone)]
pub enum Lost {
    /// All of them: the subscriber is broken. The hub drops it and connects another one.
    Everything(BackplaneError),
    /// Some channels. The subscriber goes on with its other channels, and the hub subscribes to the
    /// lost ones again.
    Channels(Vec<Arc<str>>, BackplaneError),
}

/// An error of a backplane. No text in it contains a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackplaneError {
    /// The settings can never work, for example a URL that cannot be parsed.
    #[error("backplane settings: {0}")]
    Settings(String),
    /// A connection could not be made, or broke.
    #[error("backplane connection: {0}")]
    Connection(String),
    /// The server answered with an error, for example: wrong password, too many clients, no
    /// permission.
    #[error("backplane refused: {0}")]
    Refused(String),
    /// The server did not answer in time.
    #[error("backplane silent: no answer to {request} within {waited:?}")]
    Silent {
        /// The request without an answer.
        request: BackplaneRequest,
        /// How long the node waited for the answer.
        waited: Duration,
    },
    /// The connection works, but no messages arrive by it any longer.
    #[error("backplane subscription lost: {0}")]
    SubscriptionLost(String),
    /// The server is a replica: it acknowledges messages, but passes them only to its own
    /// subscribers. The hub goes on trying, because the replica may be promoted.
    #[error("backplane on a replica: {server} is a replica and passes no message on to its master")]
    Replica {
        /// The address of the server.
        server: String,
    },
    /// The tasks of the backplane have ended: their runtime was shut down, or one of them panicked.
    #[error("backplane stopped: its tasks have ended, with their runtime or by a panic")]
    Stopped,
    /// Another node spreads rooms over a different number of channels. Messages to rooms do not
    /// reach all members then.
    #[error("backplane channels differ: {theirs} on another node, {ours} here")]
    ChannelsDiffer {
        /// The number of channels on this node.
        ours: u16,
        /// The number of channels on the other node.
        theirs: u16,
    },
}

/// A request to a server, as named in [`BackplaneError::Silent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackplaneRequest {
    /// Connecting.
    Connect,
    /// Publishing.
    Publish,
    /// Subscribing, or ending a subscription.
    Subscribe,
    /// A probe.
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
