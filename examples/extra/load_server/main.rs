//! The chat server that the load, fault and browser tests run, with a flag for each setting that the tests need. It
//! serves a page with live counters; the path of a WebSocket names the room. Read the example `chat` first.
//!
//! Run `cargo run --release -p extra-examples --example load_server` and open the printed address in two tabs.
//!
//! - With `--features redis` and `--redis URL`, several servers form one chat. Servers that share a key ignore other
//!   publishers on that Redis: `openssl rand -hex 32 > key` and `--redis-key-file key`.
//! - With `--plain-channel chat:in`, other programs publish to the chat:
//!   `redis-cli PUBLISH chat:in '{"room": "lobby", "message": {"user": "cron", "text": "It is noon."}}'`.
//! - `/healthz` reports whether a load balancer should send clients to this server.
//! - With `--features metrics`, `/metrics` serves metrics in Prometheus' text format.
//! - With `--features tracing`, `--log info` or `RUST_LOG=info` turns on the log.

mod observability;

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;
#[cfg(feature = "redis")]
use std::{fs, io, path::PathBuf};

use clap::Parser;
use extra_examples::CompressionMode;
use hyper::body::Incoming;
use hyper::service::service_fn;
#[cfg(feature = "redis")]
use roomcast::Builder;
use roomcast::header::{CACHE_CONTROL, CONTENT_TYPE};
use roomcast::{
    BackplaneHealth, Body, Close, Conn, Handler, Hub, Reject, Request, Response, Server,
    ServerMonitor, ServerStats, Shutdown, Stats, StatusCode, UpgradeRequest, shutdown_signal,
};
use serde::{Deserialize, Serialize};

use observability::{Metrics, health};

const PAGE: &str = include_str!("../../chat.html");
/// The WebSocket client that the page uses.
const CLIENT: &str = include_str!("../../roomcast.js");

/// A chat server on roomcast: a page at /, counters at /stats, a health check at /healthz, and, with the feature
/// `metrics`, metrics for Prometheus at /metrics.
#[derive(Parser)]
struct Options {
    /// The address to listen on; with port 0 the system chooses a port.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    /// The number of worker threads [default: the number of cores].
    #[arg(long)]
    threads: Option<usize>,
    /// The number of shards that share the connections [default: the number of threads].
    #[arg(long)]
    shards: Option<usize>,
    /// Runs each shard on a thread of its own, instead of in a task.
    #[arg(long)]
    shard_threads: bool,
    /// The most deliveries that wait for a slow client.
    #[arg(long, default_value_t = 16)]
    send_buffer: usize,
    /// Bytes that the kernel buffers for a client that does not read [default: the system's setting].
    #[arg(long)]
    socket_send_buffer: Option<usize>,
    /// Messages a second that a client may send on average; a burst may have twice as many; 0: no limit.
    #[arg(long, default_value_t = 50)]
    message_rate: u32,
    /// Bytes a second that a client may send on average; a burst may have twice as many; 0: no limit.
    #[arg(long, default_value_t = 128 * 1024)]
    byte_rate: u32,
    /// How messages are compressed, for clients that ask for it.
    #[arg(long, value_enum, default_value = "off")]
    compression: CompressionMode,
    /// Milliseconds between two pings to a client; 0: no pings [default: the hub's default].
    #[arg(long)]
    ping_ms: Option<u64>,
    /// The most connections from one address [default: no limit, because all may come through a proxy].
    #[arg(long)]
    max_per_addr: Option<u32>,
    /// An origin whose pages may connect; may be given several times. Clients that are not pages may always connect
    /// [default: the origin of this server].
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Seconds that a shutdown may take until the last clients are cut.
    #[arg(long, default_value_t = 10)]
    shutdown_seconds: u64,
    /// Seconds, at the start of a shutdown, in which only /healthz reports the shutdown, for a load balancer to notice.
    #[arg(long, default_value_t = 0)]
    not_ready_seconds: u64,
    /// The filter of the log on standard error, such as info or roomcast=debug [default: RUST_LOG, or no log].
    #[cfg(feature = "tracing")]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// The URL of a Redis, such as redis://127.0.0.1; all servers that use it form one chat.
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// The channel on that Redis.
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "NAME", default_value = "roomcast-chat")]
    channel: String,
    /// A file whose first line is the key that the servers share, at least 16 bytes; further lines are old or new keys
    /// that are also accepted while the key changes. A file, because all users of a machine can see arguments.
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "FILE", requires = "redis")]
    redis_key_file: Option<PathBuf>,
    /// A channel on that Redis where other programs publish JSON; signed, if there is a key.
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "NAME", requires = "redis")]
    plain_channel: Option<String>,
}

impl Options {
    fn hub(&self, threads: usize, descriptors: u64) -> Result<Hub<Message>, Box<dyn Error>> {
        // A sixth is left for files, the rings of the shards, plain HTTP requests, and Redis.
        let connections = usize::try_from(descriptors - descriptors / 6)?;
        let mut hub = Hub::builder()
            .max_connections(connections)
            .shards(self.shards.unwrap_or(threads))
            .shard_threads(self.shard_threads)
            .send_buffer(self.send_buffer)
            .compression(self.compression.setting())
            .allow_origins(&self.allow_origin);
        if self.message_rate > 0 {
            hub = hub.message_rate(self.message_rate, self.message_rate.saturating_mul(2));
        }
        if self.byte_rate > 0 {
            hub = hub.byte_rate(self.byte_rate, self.byte_rate.saturating_mul(2));
        }
        if let Some(bytes) = self.socket_send_buffer {
            hub = hub.socket_send_buffer(bytes);
        }
        if let Some(millis) = self.ping_ms {
            hub = hub.ping_interval(Duration::from_millis(millis));
        }
        if let Some(connections) = self.max_per_addr {
            hub = hub.max_connections_per_addr(connections);
        }
        #[cfg(feature = "redis")]
        let hub = match &self.redis {
            Some(url) => self.with_key(hub.redis(url, &self.channel))?,
            None => hub,
        };
        #[cfg(feature = "redis")]
        let hub = match &self.plain_channel {
            Some(name) => hub.plain_channel(name),
            None => hub,
        };
        Ok(hub.build()?)
    }

    fn shutdown(&self) -> Shutdown {
        let seconds = Duration::from_secs;
        let how = Shutdown::within(seconds(self.shutdown_seconds))
            .not_ready_for(seconds(self.not_ready_seconds));
        match self.has_others() {
            true => how.move_elsewhere(),
            // Closes all clients at once: clients that come back before the server has ended are refused.
            false => how.spread_over(Duration::ZERO).restart(seconds(1)..=seconds(5)),
        }
    }

    /// Whether other servers can take over the clients of this server.
    fn has_others(&self) -> bool {
        #[cfg(feature = "redis")]
        return self.redis.is_some();
        #[cfg(not(feature = "redis"))]
        false
    }

    #[cfg(feature = "redis")]
    fn with_key(&self, hub: Builder<Message>) -> Result<Builder<Message>, io::Error> {
        let Some(path) = &self.redis_key_file else { return Ok(hub) };
        Ok(hub.backplane_keys(fs::read_to_string(path)?.lines()))
    }
}

/// A message, in both directions. Fields that the sender leaves out are left out for the receivers, too.
#[derive(Serialize, Deserialize)]
struct Message {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
}

/// The room of clients whose path names none.
const LOBBY: &str = "lobby";

struct Chat;

impl Handler<Message> for Chat {
    /// Joins the room before the handshake is answered, so that the client misses no later message.
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        let room = request.try_param("room").unwrap_or(LOBBY).to_owned();
        request.join(&room);
        Ok(())
    }

    async fn on_message(&self, conn: &Conn<Message>, message: Message) -> Result<(), Close> {
        // Waits while the hub is overloaded. Fails only when the hub is closed: then the connection ends.
        conn.hub().to_room(room(conn), &message).await?;
        Ok(())
    }
}

fn room(conn: &Conn<Message>) -> &str {
    conn.try_param("room").unwrap_or(LOBBY)
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    #[cfg(feature = "tracing")]
    observability::log(options.log.as_deref())?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.unwrap_or(cores).max(1);
    let descriptors = raise_descriptor_limit();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?
        .block_on(serve(options, threads, descriptors))
}

async fn serve(options: Options, threads: usize, descriptors: u64) -> Result<(), Box<dyn Error>> {
    let stop = shutdown_signal();
    let metrics = Metrics::install()?;
    let hub = options.hub(threads, descriptors)?;
    log_backplane_changes(&hub);
    let server = Server::bind(&options.listen).await?;
    let watched = Watched { hub: hub.clone(), server: server.monitor(), metrics };
    let pages = service_fn(move |request| {
        let watched = watched.clone();
        async move { Ok::<_, Infallible>(page(&watched, &request)) }
    });
    let server = server.route("/ws/{room}", hub.handle(Chat))?.fallback(pages);
    println!("listening on http://{}", server.local_addr()?);
    println!("{}", server.run_until(stop, options.shutdown()).await);
    Ok(())
}

fn log_backplane_changes(hub: &Hub<Message>) {
    let Some(mut changes) = hub.backplane_changes() else { return };
    tokio::spawn(async move {
        while let Some(state) = changes.next().await {
            eprintln!("backplane {state}");
        }
    });
}

/// The sources of the counters.
#[derive(Clone)]
struct Watched {
    hub: Hub<Message>,
    server: ServerMonitor,
    metrics: Metrics,
}

fn page(watched: &Watched, request: &Request<Incoming>) -> Response {
    match request.uri().path() {
        "/" => respond(StatusCode::OK, "text/html; charset=utf-8", PAGE),
        "/roomcast.js" => respond(StatusCode::OK, "text/javascript; charset=utf-8", CLIENT),
        "/stats" => {
            respond(StatusCode::OK, "application/json", stats(watched, request.uri().query()))
        }
        "/healthz" => {
            let (status, body) = health(&watched.hub);
            respond(status, "application/json", body)
        }
        "/metrics" => match watched.metrics.render(&watched.hub, &watched.server) {
            Some(body) => respond(StatusCode::OK, "text/plain; version=0.0.4", body),
            None => respond(StatusCode::NOT_FOUND, "text/plain", "built without metrics"),
        },
        _ => respond(StatusCode::NOT_FOUND, "text/plain", "not found"),
    }
}

fn respond(status: StatusCode, kind: &str, body: impl Into<Body>) -> Response {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .header(CACHE_CONTROL, "no-store")
        .body(body.into())
        .expect("the status and the headers are valid")
}

/// The body of `/stats`.
#[derive(Serialize)]
struct StatsBody {
    room: String,
    members: u64,
    nodes: usize,
    all_connections: u64,
    hub: Stats,
    server: ServerStats,
    backplane: Option<BackplaneHealth>,
    /// The current error of the backplane.
    backplane_error: Option<String>,
}

fn stats(Watched { hub, server, .. }: &Watched, query: Option<&str>) -> String {
    let room = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find_map(|(key, value)| (key == "room").then(|| value.into_owned()))
        .unwrap_or_default();
    let cluster = hub.cluster();
    let body = StatsBody {
        members: cluster.members(&room).members,
        room,
        nodes: cluster.nodes().len(),
        all_connections: cluster.connections(),
        hub: hub.stats(),
        server: server.stats(),
        backplane: hub.backplane_health(),
        backplane_error: hub.backplane_err().map(|error| error.to_string()),
    };
    simd_json::to_string(&body).expect("a struct of plain values serializes")
}

/// Raises the limit of open descriptors, and returns it. Each connection needs a descriptor, and many shells allow only
/// 1,024.
fn raise_descriptor_limit() -> u64 {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        eprintln!("note: descriptor limit not raised: {error}");
        1_024
    });
    if limit < 20_000 {
        eprintln!("note: at most {limit} open descriptors");
    }
    limit
}
