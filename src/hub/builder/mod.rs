//! [`Builder`]: the settings of a hub, and how a hub is built from them.

mod admission;
mod backplane;
mod check;
#[cfg(feature = "deflate")]
mod compression;
mod delivery;
#[cfg(feature = "hmac")]
mod keys;
mod memory;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "json")]
mod plain;
mod room_state;
mod traffic;

use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

#[cfg(feature = "deflate")]
pub(super) use self::check::in_range;
use self::memory::ByteSettings;
#[cfg(feature = "json")]
use self::plain::PlainSettings;
use super::lifetime::Lifetime;
use super::room_state::{Hooks, RoomState};
use super::stats::HubCounters;
use super::throttled_warnings::Warnings;
use super::{BuildError, Hub, Inner, Origins};
use crate::backplane::{BackplaneError, Bridge, BridgeConfig, BridgePlan, NodeId, Signing};
use crate::codec::Codec;
use crate::engine::{
    Budgets, InboxLimits, LARGE_AUDIENCE, Overflow, QueueLimits, RoomLimits, ShardConfig,
};
use crate::net::{AdmissionLimits, Rates, ReadLimits, SocketOptions};
use crate::shards::{Layout, RoomHooks, Shards};
use crate::ws::{ComeBack, DecodeLimits};

/// The settings of a [`Hub`], from [`Hub::builder`](Hub#method.builder) or [`Hub::with_codec`].
/// Every setting has a default.
///
/// Most programs need only these settings:
///
/// | setting | meaning | default |
/// |---|---|---|
/// | [`allow_origins`](Self::allow_origins) | which web pages may connect | the pages of the server's own host; a list replaces this |
/// | [`redis`](Self::redis) | the Redis that connects several hubs | none |
/// | [`max_message_bytes`](Self::max_message_bytes) | the largest message of a client, in bytes | 64 KiB |
/// | [`message_rate`](Self::message_rate) | how many messages a client may send in a second, and how many at once | no limit |
/// | [`overflow`](Self::overflow) | what happens to a client that reads too slowly | it is closed |
///
/// The other settings are bounds, and seldom need a change:
///
/// | bounded | settings |
/// |---|---|
/// | handshakes and connections | [`max_connections`](Self::max_connections), [`max_handshakes`](Self::max_handshakes), [`max_connections_per_addr`](Self::max_connections_per_addr), [`connection_rate_per_addr`](Self::connection_rate_per_addr), [`upgrade_timeout`](Self::upgrade_timeout), [`check_origin`](Self::check_origin), [`require_origin`](Self::require_origin), [`allow_any_origin`](Self::allow_any_origin) |
/// | messages of clients | [`max_fragments`](Self::max_fragments), [`message_timeout`](Self::message_timeout), [`byte_rate`](Self::byte_rate) |
/// | rooms | [`max_rooms`](Self::max_rooms), [`max_rooms_per_conn`](Self::max_rooms_per_conn), [`max_room_name_bytes`](Self::max_room_name_bytes) |
/// | bytes that wait for a client | [`send_buffer_bytes`](Self::send_buffer_bytes), [`send_buffer`](Self::send_buffer), [`socket_send_buffer`](Self::socket_send_buffer), [`max_queued_bytes`](Self::max_queued_bytes) (of all clients) |
/// | messages that wait for a shard | [`inbox_messages`](Self::inbox_messages), [`inbox_bytes`](Self::inbox_bytes), [`shards`](Self::shards), [`shard_threads`](Self::shard_threads) |
/// | messages that wait for other nodes | [`outbox_messages`](Self::outbox_messages), [`outbox_bytes`](Self::outbox_bytes), [`rejoin_wait`](Self::rejoin_wait), [`channels`](Self::channels) |
/// | time | [`ping_interval`](Self::ping_interval), [`write_timeout`](Self::write_timeout), [`close_timeout`](Self::close_timeout), [`heartbeats`](Self::heartbeats), [`subscribe_timeout`](Self::subscribe_timeout) |
///
/// These settings connect a hub with other nodes and with its program:
/// [`backplane`](Self::backplane) (and `redis_cluster`, `redis_sentinel`, `backplane_key`,
/// `backplane_keys` and `plain_channel`, each with its feature), [`room_state`](Self::room_state),
/// and [`name`](Self::name).
///
/// # Examples
/// ```
/// use roomcast::{Hub, Overflow};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), roomcast::BuildError> {
/// let hub = Hub::<String>::builder()
///     .allow_origins(["https://www.example.com"])
///     .message_rate(10, 20)
///     .overflow(Overflow::DropOldest)
///     .build()?;
/// # assert_eq!(hub.count(), 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<Out, In = Out> {
    name: Option<String>,
    codec: Arc<dyn Codec<Out, In>>,
    shards: usize,
    ping_interval: Duration,
    queue: QueueLimits,
    write_timeout: Duration,
    close_timeout: Duration,
    heartbeats: Option<bool>,
    origins: Origins,
    origin_error: Option<BuildError>,
    admission: AdmissionLimits,
    upgrade_timeout: Duration,
    read: ReadLimits,
    inbox_messages: usize,
    rooms: RoomLimits,
    rooms_max: usize,
    room_state: Option<Box<dyn RoomState>>,
    socket_send_buffer: Option<usize>,
    backplane: Option<BackplaneSetting>,
    spread: u16,
    outbox_messages: usize,
    rejoin_wait: Duration,
    subscribe_timeout: Duration,
    /// The bounds in bytes that were set. The defaults of the others depend on the memory of the
    /// process.
    byte_settings: ByteSettings,
    /// How envelopes are signed, or the error of the keys.
    signing: Result<Signing, BuildError>,
    #[cfg(feature = "deflate")]
    compression: Option<super::Compression>,
    may_use_io_uring: bool,
    has_threads: bool,
    #[cfg(feature = "json")]
    plain: PlainSettings,
    #[cfg(feature = "metrics")]
    metrics_interval: Duration,
}

/// The backplane to the other nodes.
struct BackplaneSetting {
    channel: String,
    start: StartBridge,
}

/// Starts a bridge over the driver that the closure holds.
type StartBridge =
    Box<dyn FnOnce(BridgePlan, BridgeHost<'_>) -> Result<Bridge, BackplaneError> + Send>;

/// The parts of this hub that a bridge needs: the node id, the shards, and the runtime.
struct BridgeHost<'a> {
    node: NodeId,
    shards: Weak<Shards>,
    runtime: &'a Handle,
}

impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    pub(super) fn new(codec: impl Codec<Out, In>) -> Self {
        Self {
            name: None,
            codec: Arc::new(codec),
            shards: std::thread::available_parallelism().map_or(1, NonZero::get),
            ping_interval: Duration::from_secs(30),
            queue: QueueLimits { slots: 16, bytes: 1024 * 1024, overflow: Overflow::Evict },
            write_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            heartbeats: None,
            origins: Origins::default(),
            origin_error: None,
            admission: AdmissionLimits {
                connections_max: 1 << 20,
                handshakes_max: 4_096,
                per_addr_max: None,
                addr_rate: None,
            },
            upgrade_timeout: Duration::from_secs(10),
            read: ReadLimits {
                decode: DecodeLimits { message_bytes_max: 64 * 1024, fragments_max: 64 },
                message_timeout: Duration::from_secs(10),
                rates: Rates::default(),
            },
            inbox_messages: 65_536,
            rooms: RoomLimits { name_bytes: 255, rooms_per_conn: 1_024 },
            rooms_max: 1 << 20,
            room_state: None,
            socket_send_buffer: None,
            backplane: None,
            spread: 1,
            outbox_messages: 65_536,
            rejoin_wait: Duration::from_secs(20),
            subscribe_timeout: Duration::from_secs(5),
            byte_settings: ByteSettings::default(),
            signing: Ok(Signing::default()),
            #[cfg(feature = "deflate")]
            compression: None,
            may_use_io_uring: true,
            has_threads: false,
            #[cfg(feature = "json")]
            plain: PlainSettings::default(),
            #[cfg(feature = "metrics")]
            metrics_interval: crate::telemetry::metrics::COPY_INTERVAL,
        }
    }

    /// Sets the name of the hub in this process, which appears in metrics, logs and `Debug`.
    /// Default: a number, from 0 in the order in which hubs without a name are built.
    ///
    /// Give each hub its own name. The name is a label of metrics, and a recorder keeps a label as
    /// long as the process runs: a program that builds hubs again and again should reuse a few
    /// names.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Builds and starts the hub. Its shards become tasks of the current tokio runtime, or threads
    /// ([`shard_threads`](Self::shard_threads)).
    ///
    /// # Errors
    /// [`BuildError::NoRuntime`] outside of a tokio runtime, [`BuildError::OutOfRange`] for a
    /// setting out of its range, [`BuildError::NotAnOrigin`] for an origin that no browser sends,
    /// [`BuildError::Backplane`] for a backplane that cannot work, [`BuildError::PlainChannel`] for a
    /// plain channel that cannot work, and [`BuildError::ShardThread`] if the thread of a shard
    /// cannot be started.
    ///
    /// # Panics
    /// If the system provides no random numbers, or the runtime has no time driver
    /// ([`enable_time`](tokio::runtime::Builder::enable_time)).
    pub fn build(self) -> Result<Hub<Out, In>, BuildError> {
        let runtime = Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        self.check()?;
        #[cfg(feature = "json")]
        self.check_plain()?;
        let name = self.name.clone().unwrap_or_else(next_name);
        let bytes = self.byte_bounds(&name);
        let signing = self.signing?;
        let config = ShardConfig {
            queue: self.queue,
            ping_interval: (!self.ping_interval.is_zero()).then_some(self.ping_interval),
            write_timeout: self.write_timeout,
            large_audience: LARGE_AUDIENCE,
        };
        let node = NodeId::random();
        let has_heartbeats = self.heartbeats.unwrap_or(!self.codec.takes_empty_text());
        let bridge = self.backplane.map(|backplane| {
            let config = BridgeConfig {
                channel: backplane.channel,
                spread: self.spread,
                outbox: InboxLimits { messages: self.outbox_messages, bytes: bytes.outbox },
                signing,
                rejoin_wait: self.rejoin_wait,
                queue_bytes: self.queue.bytes,
                #[cfg(feature = "json")]
                plain: self.plain.for_bridge(self.rooms.name_bytes),
            };
            (BridgePlan::new(config), backplane.start)
        });
        let watch = bridge.as_ref().map(|(plan, _)| plan.room_watch());
        let counters = Arc::new(HubCounters::default());
        #[cfg(feature = "deflate")]
        let compression =
            self.compression.as_ref().map(|it| it.for_shard(self.shards, counters.clone()));
        #[cfg(not(feature = "deflate"))]
        let compression = None;
        let layout = Layout {
            count: self.shards,
            shard: config,
            compression,
            may_use_io_uring: self.may_use_io_uring,
            has_threads: self.has_threads,
            inbox: InboxLimits { messages: self.inbox_messages, bytes: bytes.inbox },
            rooms: self.rooms,
            budgets: Budgets::new(self.rooms_max, bytes.queued, self.shards),
        };
        let hooks = self
            .room_state
            .map(|state| Box::new(Hooks::new(state, counters.clone())) as Box<dyn RoomHooks>);
        let shards = Arc::new(Shards::start(layout, watch, hooks, &runtime)?);
        let host = || BridgeHost { node, shards: Arc::downgrade(&shards), runtime: &runtime };
        let bridge = bridge.map(|(plan, start)| start(plan, host())).transpose()?;
        let inner = Inner {
            name: name.into(),
            node,
            codec: self.codec,
            shards,
            counters,
            bridge,
            read_limits: self.read,
            send_wait_bytes_max: send_wait_bytes_max(self.queue),
            close_timeout: self.close_timeout,
            has_heartbeats,
            origins: self.origins,
            #[cfg(feature = "deflate")]
            compression: self.compression,
            lifetime: Lifetime::new(self.admission),
            come_back: ComeBack::default(),
            warnings: Warnings::default(),
            upgrade_timeout: self.upgrade_timeout,
            subscribe_timeout: self.subscribe_timeout,
            socket_options: SocketOptions {
                send_buffer: bytes.socket_send_buffer,
                holds_little: self.queue.overflow == Overflow::KeepNewest,
                is_probed: self.queue.overflow.keeps_slow_clients(),
            },
            serial: AtomicU64::new(0),
        };
        let hub = Hub { inner: Arc::new(inner) };
        #[cfg(feature = "metrics")]
        hub.report(self.metrics_interval, &runtime);
        Ok(hub)
    }
}

/// A waiting call adds its message only if at most this many bytes then wait for the client. 0 for
/// `KeepNewest`: waiting calls must not replace messages that wait.
fn send_wait_bytes_max(queue: QueueLimits) -> usize {
    match queue.overflow {
        Overflow::KeepNewest => 0,
        _ => queue.bytes / 2,
    }
}

/// The default name of a hub.
fn next_name() -> String {
    static NAMES: AtomicU64 = AtomicU64::new(0);
    NAMES.fetch_add(1, Ordering::Relaxed).to_string()
}

/// Shows the settings without the backplane, which may hold a password.
impl<Out, In> fmt::Debug for Builder<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Builder");
        shown
            .field("name", &self.name)
            .field("shards", &self.shards)
            .field("shard_threads", &self.has_threads)
            .field("ping_interval", &self.ping_interval)
            .field("queue", &self.queue)
            .field("write_timeout", &self.write_timeout)
            .field("close_timeout", &self.close_timeout)
            .field("heartbeats", &self.heartbeats)
            .field("origins", &self.origins)
            .field("admission", &self.admission)
            .field("upgrade_timeout", &self.upgrade_timeout)
            .field("read", &self.read)
            .field("inbox_messages", &self.inbox_messages)
            .field("rooms", &self.rooms)
            .field("rooms_max", &self.rooms_max)
            .field("room_state", &self.room_state.is_some())
            .field("byte_settings", &self.byte_settings)
            .field("socket_send_buffer", &self.socket_send_buffer)
            .field("channel", &self.backplane.as_ref().map(|backplane| &backplane.channel))
            .field("channels", &self.spread)
            .field("outbox_messages", &self.outbox_messages)
            .field("rejoin_wait", &self.rejoin_wait)
            .field("subscribe_timeout", &self.subscribe_timeout)
            .field("signing", &self.signing);
        #[cfg(feature = "json")]
        shown.field("plain", &self.plain);
        shown.finish()
    }
}
