//! The facade: what a user names, and the only place where the layers meet.
//!
//! A [`Hub`] holds the codec and the shards; a [`Conn`] is a client; a [`Handler`] is what the
//! application does. A session (one task a connection) reads, decodes and calls the handler; the
//! shards write.

mod acting;
mod as_message;
mod builder;
mod byte_bounds;
mod callback_outcome;
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
mod nodes;
mod origins;
#[cfg(roomcast_loom)]
pub(crate) mod parts;
mod publishing;
mod rebalancing;
mod refusal;
mod request;
mod room_state;
mod session;
mod shutdown;
mod stats;
mod subscribing;
mod throttled_warnings;
mod undecodable;
mod upgrade;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::oneshot;

pub use self::as_message::AsMessage;
pub use self::builder::Builder;
pub use self::callback_outcome::Outcome;
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

/// A WebSocket hub: it sends messages of type `Out` to connections and rooms, and accepts messages of type `In`
/// from clients.
///
/// `Hub<Message>` has one type for both directions. `Hub<Event, Never>` only sends; see [`Never`](crate::Never).
/// `Out` needs `serde::Serialize`, and `In` needs `serde::Deserialize`, where the codec is JSON.
///
/// With a backplane, the hubs of several processes act as one: see [`Builder::backplane`].
///
/// A hub is a handle; clones are the same hub. Its shards are tasks of the tokio runtime that it
/// was built in, and end when the last handle, connection and endpoint of it are gone. A hub that outlives
/// that runtime, as a `static` one may, is closed from then on ([`is_closed`](Self::is_closed)): build it in
/// the runtime that serves it.
///
/// # Delivery
/// At most once. A connection gets the messages of one publisher in the order of its calls, across
/// rooms, broadcasts and direct sends. After [`Conn::join`] has returned, a publish by the same
/// task, or by one that was told of it, reaches the connection. Between nodes both hold within a
/// channel of the backplane, and after [`Conn::join_subscribed`].
///
/// A message is encoded once; recipients share the bytes. All publishing calls return before
/// anything is written to a socket, and cost one allocation and one push per shard with recipients,
/// whatever their number; several rooms or exceptions cost an allocation per shard more. They take
/// no lock, unless the hub has a [`RoomState`].
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
    /// Dropped with the hub, which ends its tasks.
    bridge: Option<Bridge>,
    read_limits: ReadLimits,
    /// Bytes that may wait for a client when a call that waits adds some.
    send_wait_bytes_max: usize,
    close_timeout: Duration,
    /// Whether an empty text message is a heartbeat.
    has_heartbeats: bool,
    origins: Origins,
    /// Who is in the hub, and how far its end has come.
    lifetime: Lifetime,
    come_back: ComeBack,
    warnings: Warnings,
    upgrade_timeout: Duration,
    subscribe_timeout: Duration,
    socket_options: SocketOptions,
    /// Connections that were ever opened; the next one's number.
    serial: AtomicU64,
}

#[cfg(feature = "json")]
impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// A hub with the default settings, speaking JSON.
    ///
    /// # Panics
    /// Outside of a tokio runtime; [`build`](Builder::build) returns an error instead.
    pub fn new() -> Self
    where
        Out: serde::Serialize,
        In: serde::de::DeserializeOwned,
    {
        Self::builder().build().expect("the defaults are in range, and there is a tokio runtime")
    }

    /// The settings of a hub that speaks JSON.
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
    /// The settings of a hub with a codec of choice.
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

    /// The same for all handles of a hub, and for no other hub that there is.
    #[cfg(feature = "server")]
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }

    /// What it is called in this process: see [`Builder::name`].
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Handlers made of closures, for connections with this hub's type of message.
    pub fn handlers(&self) -> Handlers<Out, In> {
        Handlers::new()
    }

    /// The hub as a service: each request that it gets becomes a connection with this handler.
    ///
    /// The endpoint can be a route of a `Server`, or any hyper service.
    pub fn handle<H: Handler<Out, In>>(&self, handler: H) -> Endpoint<H, Out, In> {
        Endpoint::new(self.clone(), handler)
    }

    /// Asks all shards at once. One that is gone answers with nothing.
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

    /// A snapshot of the counters, summed over the shards.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        stats.add_hub(self.counters());
        for port in self.inner.shards.ports() {
            stats.add_shard(port.counters());
        }
        stats.refused_rooms += self.inner.shards.refused_names();
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
