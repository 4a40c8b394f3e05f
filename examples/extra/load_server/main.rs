//! The chat that the tests with load, faults and browsers run, with a flag for each setting that they need:
//! one page, a room per path, live counters. The example `chat` is the chat to read first.
//!
//! `cargo run --release -p extra-examples --example load_server`, and open the address that it prints in two tabs. With
//! `--features redis` and `--redis URL`, several of them are one chat; a key that they share keeps
//! others on that Redis out: `openssl rand -hex 32 > key` and `--redis-key-file key`. With
//! `--plain-channel chat:in`, other programs publish to the chat:
//! `redis-cli PUBLISH chat:in '{"room": "lobby", "message": {"user": "cron", "text": "It is noon."}}'`.
//!
//! `/healthz` says whether clients should come here. With `--features metrics`, `/metrics` is for
//! Prometheus; with `--features tracing`, `--log info` or `RUST_LOG=info` logs.

mod observability;

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::time::Duration;
#[cfg(feature = "redis")]
use std::{fs, path::PathBuf};

use clap::Parser;
use hyper::body::Incoming;
use hyper::service::service_fn;
#[cfg(feature = "redis")]
use roomcast::Builder;
use roomcast::header::{CACHE_CONTROL, CONTENT_TYPE};
use roomcast::{
    BackplaneHealth, Body, Close, Conn, Handler, Hub, Request, Response, Server, ServerMonitor,
    ServerStats, Shutdown, Stats, StatusCode, shutdown_signal,
};
use serde::{Deserialize, Serialize};

use observability::{Metrics, health};

const PAGE: &str = include_str!("../../chat.html");
/// The client that the page uses.
const CLIENT: &str = include_str!("../../roomcast.js");

/// A chat server over roomcast: a page at /, counters at /stats, its health at /healthz, and metrics for
/// Prometheus at /metrics if it was built with the feature `metrics`.
#[derive(Parser)]
struct Options {
    /// The address to listen on; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    /// Worker threads [default: the number of cores].
    #[arg(long)]
    threads: Option<usize>,
    /// Shards that the connections are spread over [default: the number of threads].
    #[arg(long)]
    shards: Option<usize>,
    /// Deliveries that may wait for a slow client.
    #[arg(long, default_value_t = 16)]
    send_buffer: usize,
    /// Bytes that the kernel holds for a client that does not read [default: what the system does].
    #[arg(long)]
    socket_send_buffer: Option<usize>,
    /// Messages that a client may send in a second on average, and twice as many at once; 0: no limit.
    #[arg(long, default_value_t = 50)]
    message_rate: u32,
    /// Bytes that a client may send in a second on average, and twice as many at once; 0: no limit.
    #[arg(long, default_value_t = 128 * 1024)]
    byte_rate: u32,
    /// Milliseconds between two pings to a client; 0: none [default: what the hub does].
    #[arg(long)]
    ping_ms: Option<u64>,
    /// Connections that one address may have [default: no limit, for all may come through a proxy].
    #[arg(long)]
    max_per_addr: Option<u32>,
    /// An origin whose pages may connect, besides no page at all; may be given several times [default:
    /// the page that this server serves].
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Seconds that clients have to go when the server is told to end.
    #[arg(long, default_value_t = 10)]
    shutdown_seconds: u64,
    /// Of these, seconds in which only /healthz says so, for a load balancer to notice.
    #[arg(long, default_value_t = 0)]
    not_ready_seconds: u64,
    /// What to log to the standard error, such as info or roomcast=debug [default: what RUST_LOG says, or
    /// nothing].
    #[cfg(feature = "tracing")]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// A Redis that makes one chat of all servers that share it, such as redis://127.0.0.1.
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// The channel on that Redis.
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "NAME", default_value = "roomcast-chat")]
    channel: String,
    /// A file with a key that the servers share, of 16 bytes or more; in further lines others that are
    /// accepted, while the key is being changed. A file, as arguments are there for everybody to see.
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "FILE", requires = "redis")]
    redis_key_file: Option<PathBuf>,
    /// A channel on that Redis by which other programs publish, as JSON; signed, where there is a key.
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "NAME", requires = "redis")]
    plain_channel: Option<String>,
}

impl Options {
    fn hub(&self, threads: usize, descriptors: u64) -> Result<Hub<Message>, Box<dyn Error>> {
        // An eighth is for files, requests that are no WebSockets, and Redis.
        let connections = usize::try_from(descriptors - descriptors / 8)?;
        let mut hub = Hub::builder()
            .max_connections(connections)
            .shards(self.shards.unwrap_or(threads))
            .send_buffer(self.send_buffer)
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
            // All at once: who comes back before the server has ended is refused.
            false => how.spread_over(Duration::ZERO).restart(seconds(1)..=seconds(5)),
        }
    }

    /// Whether other servers take the clients of this one.
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

/// What clients send, and get. Fields that a client leaves out stay out.
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

struct Chat;

impl Handler<Message> for Chat {
    async fn on_connect(&self, conn: &Conn<Message>) -> Result<(), Close> {
        conn.join(room(conn)).await?;
        Ok(())
    }

    async fn on_message(&self, conn: &Conn<Message>, message: Message) -> Result<(), Close> {
        // Waits while the hub is overloaded, and fails only when it is closed: then the client goes.
        conn.hub().to_room(room(conn), &message).await?;
        Ok(())
    }
}

fn room(conn: &Conn<Message>) -> &str {
    conn.try_param("room").unwrap_or("lobby")
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
    let told_to_end = shutdown_signal();
    let metrics = Metrics::install()?;
    let hub = options.hub(threads, descriptors)?;
    tell_of_backplane(&hub);
    let server = Server::bind(&options.listen).await?;
    let watched = Watched { hub: hub.clone(), server: server.monitor(), metrics };
    let pages = service_fn(move |request| {
        let watched = watched.clone();
        async move { Ok::<_, Infallible>(page(&watched, &request)) }
    });
    let server = server.route("/ws/{room}", hub.handle(Chat))?.fallback(pages);
    println!("listening on http://{}", server.local_addr()?);
    println!("{}", server.run_until(told_to_end, options.shutdown()).await);
    Ok(())
}

fn tell_of_backplane(hub: &Hub<Message>) {
    let Some(mut changes) = hub.backplane_changes() else { return };
    tokio::spawn(async move {
        while let Some(state) = changes.next().await {
            eprintln!("backplane {state}");
        }
    });
}

/// What the counters are of.
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

/// What `/stats` tells, as it is counted.
#[derive(Serialize)]
struct Told {
    room: String,
    members: u64,
    nodes: usize,
    all_connections: u64,
    hub: Stats,
    server: ServerStats,
    backplane: Option<BackplaneHealth>,
    /// What is wrong with the backplane now.
    backplane_error: Option<String>,
}

fn stats(Watched { hub, server, .. }: &Watched, query: Option<&str>) -> String {
    let room = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find_map(|(key, value)| (key == "room").then(|| value.into_owned()))
        .unwrap_or_default();
    let cluster = hub.cluster();
    let told = Told {
        members: cluster.members(&room).members,
        room,
        nodes: cluster.nodes().len(),
        all_connections: cluster.connections(),
        hub: hub.stats(),
        server: server.stats(),
        backplane: hub.backplane_health(),
        backplane_error: hub.backplane_err().map(|error| error.to_string()),
    };
    simd_json::to_string(&told).expect("it is made of plain values")
}

/// A connection is a descriptor, and shells hand out as few as 1,024. Returns how many there are.
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
