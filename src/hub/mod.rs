//! The public API of a hub: [`Hub`], [`Conn`], [`Handler`], the builder and the errors.
//!
//! This is the only module that uses all layers. A [`Hub`] holds the codec and the shards. A
//! [`Conn`] is the connection of one client. The application implements [`Handler`]. Each
//! connection has a session: a task that reads, decodes and calls the handler. The shards write.

mod acting;
mod as_message;
mod builder;
mod byte_bounds;
mod callback_outcome;
#[cfg(feature = "deflate")]
mod compression;
mod conn;
mod conn_info;
mod conn_span;
mod endpoint;
mod error;
mod events;
mod handler;
mod handlers;
mod joining;
mod lifetime;
mod listing;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "deflate")]
mod negotiation;
mod nodes;
mod origins;
#[cfg(roomcast_loom)]
pub(crate) mod parts;
mod publishing;
mod refusal;
mod request;
mod room_state;
mod session;
mod shedding;
mod shutdown;
mod stats;
mod throttled_warnings;
mod undecodable;
mod upgrade;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::oneshot;

pub use self::as_message::{AsMessage, Uncompressed};
pub use self::builder::Builder;
pub use self::callback_outcome::Outcome;
#[cfg(feature = "deflate")]
pub use self::compression::Compression;
pub use self::conn::Conn;
pub use self::endpoint::Endpoint;
pub use self::error::{BuildError, PublishError, SendError};
pub use self::handler::Handler;
pub use self::handlers::{Handlers, State, Stateless};
use self::lifetime::Lifetime;
use self::origins::Origins;
pub use self::publishing::Encoded;
pub use self::request::{Reject, UpgradeRequest};
pub use self::room_state::RoomState;
pub use self::shutdown::{Shutdown, ShutdownReport};
use self::stats::HubCounters;
pub use self::stats::Stats;
use self::throttled_warnings::Warnings;
use crate::backplane::{Bridge, NodeId};
use crate::codec::Codec;
use crate::engine::{Port, Reply};
use crate::net::{ReadLimits, SocketOptions, WriteHalf};
use crate::runtime::shield::shielded;
use crate::shards::Shards;
use crate::ws::ComeBack;

/// A WebSocket hub: it sends messages of type `Out` to connections and rooms, and accepts messages
/// of type `In` from clients.
///
/// `Hub<Message>` has one type for both directions. `Hub<Event, Never>` only sends; see
/// [`Never`](crate::Never). With the codec `Json`, `Out` needs `serde::Serialize`,
/// and `In` needs `serde::Deserialize`.
///
/// With a backplane, the hubs of several processes act as one: see [`Builder::backplane`].
///
/// `Hub` is a handle; clones are the same hub. Its shards are tasks of the tokio runtime in which
/// the hub was built. The shards end when the last handle, connection and endpoint of the hub are
/// dropped. When that runtime ends first, as may happen with a hub in a `static`, the hub is closed
/// ([`is_closed`](Self::is_closed)): build the hub in the runtime that serves it.
///
/// # Delivery
/// At most once. A connection gets the messages of one publisher in the order of its calls, across
/// rooms, broadcasts and direct sends. After [`Conn::join`] has returned, a publish by the same
/// task, or by a task that knows of the join, reaches the connection. On other nodes, both rules
/// hold within one channel of the backplane, and after [`Conn::join_subscribed`].
///
/// A message is encoded once; recipients share the bytes. All publishing calls return before
/// anything is written to a socket. A publish costs one allocation and one push per shard with
/// recipients, whatever the number of recipients. A target with several rooms or exceptions costs
/// one more allocation per shard. Publishing takes no lock, unless the hub has a [`RoomState`].
///
/// # Examples
/// ```
/// use roomcast::Hub;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), roomcast::PublishError> {
/// let hub = Hub::<String>::new();
/// hub.broadcast("to all").await?;
/// hub.to_room("lobby", "to the members of a room").await?;
/// # Ok(())
/// # }
/// ```
pub struct Hub<Out, In = Out> {
    inner: Arc<Inner<Out, In>>,
}

struct Inner<Out, In> {
    name: Box<str>,
    node: NodeId,
    codec: Arc<dyn Codec<Out, In>>,
    shards: Arc<Shards>,
    counters: Arc<HubCounters>,
    /// The bridge to the other nodes. Its tasks end when the bridge is dropped, with the hub.
    bridge: Option<Bridge>,
    read_limits: ReadLimits,
    /// A waiting call adds its message only if at most this many bytes then wait for the client, or
    /// if nothing waits.
    send_wait_bytes_max: usize,
    close_timeout: Duration,
    /// Whether the hub treats an empty text message as a heartbeat.
    has_heartbeats: bool,
    origins: Origins,
    /// `None` if the hub does not compress.
    #[cfg(feature = "deflate")]
    compression: Option<Compression>,
    /// The counted connections, and the phase of the shutdown.
    lifetime: Lifetime,
    come_back: ComeBack,
    warnings: Warnings,
    upgrade_timeout: Duration,
    subscribe_timeout: Duration,
    socket_options: SocketOptions,
    /// The serial number of the next connection: the number of connections so far.
    serial: AtomicU64,
}

#[cfg(feature = "json")]
impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// Creates a hub that speaks JSON, with the default settings.
    ///
    /// # Panics
    /// If there is no tokio runtime. To get an error instead, use [`build`](Builder::build).
    pub fn new() -> Self
    where
        Out: serde::Serialize,
        In: serde::de::DeserializeOwned,
    {
        Self::builder().build().expect("the defaults are in range, and there is a tokio runtime")
    }

    /// Returns a builder for a hub that speaks JSON.
    pub fn builder() -> Builder<Out, In>
    where
        Out: serde::Serialize,
        In: serde::de::DeserializeOwned,
    {
        Builder::new(crate::codec::Json::new())
    }
}

#[cfg(feature = "json")]
impl<Out, In> Default for Hub<Out, In>
where
    Out: serde::Serialize + 'static,
    In: serde::de::DeserializeOwned + Send + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// Returns a builder for a hub with another codec.
    ///
    /// # Examples
    /// ```
    /// use roomcast::{Hub, Raw, RawMessage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), roomcast::BuildError> {
    /// let hub: Hub<RawMessage> = Hub::with_codec(Raw).build()?;
    /// # assert_eq!(hub.count(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_codec<C: Codec<Out, In>>(codec: C) -> Builder<Out, In> {
        Builder::new(codec)
    }

    /// A number that all handles of a hub share, and that no other living hub has.
    #[cfg(feature = "server")]
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }

    /// The name of the hub in this process: see [`Builder::name`].
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns an empty [`Handlers`], to which you add closures, for the message types of this hub.
    pub fn handlers(&self) -> Handlers<Out, In> {
        Handlers::new()
    }

    /// Makes a service of the hub and a handler: each request that is accepted becomes a connection
    /// that this handler serves.
    ///
    /// The [`Endpoint`] can be a route of a `Server`, and it is a hyper service.
    pub fn handle<H: Handler<Out, In>>(&self, handler: H) -> Endpoint<H, Out, In> {
        Endpoint::new(self.clone(), handler)
    }

    /// Asks all shards at once. A shard that is gone answers with the default value.
    async fn ask_shards<A: Default + Send + 'static>(
        &self,
        ask: impl Fn(&Port<WriteHalf>, Reply<A>),
    ) -> Vec<A> {
        let asked = self.inner.shards.ports().iter().map(|port| {
            let (sender, answer) = oneshot::channel();
            ask(port, Box::new(move |found| drop(sender.send(found))));
            answer
        });
        let mut answers = Vec::new();
        for answer in asked.collect::<Vec<_>>() {
            answers.push(shielded(answer).await.unwrap_or_default());
        }
        answers
    }

    fn counters(&self) -> &HubCounters {
        &self.inner.counters
    }

    /// Returns a snapshot of the hub's counters, summed over the shards.
    ///
    /// Cost: one atomic load per counter and shard.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        stats.add_hub(self.counters());
        for port in self.inner.shards.ports() {
            stats.add_shard(port.counters());
        }
        stats.room_refusals += self.inner.shards.refused_names();
        stats
    }
}

impl<Out, In> Clone for Hub<Out, In> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<Out, In> fmt::Debug for Hub<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("name", &self.inner.name)
            .field("shards", &self.inner.shards.ports())
            .finish_non_exhaustive()
    }
}
