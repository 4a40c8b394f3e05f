//! The contestants: servers that send each message of a client to all members of its room.

mod axum_broadcast;
mod fastwebsockets_mpsc;
mod floor;
mod floor_flood;
mod floor_ring;
mod hub;
mod node_ws;
mod socketio;
mod yawc_broadcast;

use std::future::Future;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use clap::{Args, ValueEnum};
use roomcast::Compression;
use serde::Serialize;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

use self::floor::Writing;
use self::floor_ring::Ring;
use crate::Result;
use crate::wire::Dialect;
use shared::process;

/// The most connections that wait to be accepted, if `net.core.somaxconn` allows them: with many processes of clients,
/// thousands connect at the same time.
const BACKLOG: i32 = 4_096;

/// A time so long that no timer fires while others are measured.
const HOUR: Duration = Duration::from_secs(3_600);

/// What differs from the defaults of a server.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Setting {
    /// The number of threads, and of shards if the server has shards.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The most connections of a hub.
    #[arg(long)]
    connections: Option<usize>,
    /// The seconds between two pings of a hub; 0: no pings.
    #[arg(long, default_value_t = 0)]
    ping_seconds: u64,
}

/// A server that takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contestant {
    /// A bare epoll loop with one write for each delivery.
    #[value(name = "floor-1")]
    Floor1,
    /// A bare epoll loop with one joined write for each socket and turn.
    #[value(name = "floor-2")]
    Floor2,
    /// floor-2, whose writes leave with io_uring: one system call for up to 64 of them.
    #[value(name = "floor-3")]
    Floor3,
    /// roomcast, which forwards text unchanged.
    Roomcast,
    /// roomcast with the JSON codec, which decodes each message and encodes it again.
    RoomcastJson,
    /// roomcast-json without io_uring: each write is a system call of its own.
    RoomcastJsonSend,
    /// roomcast-json, whose shard has a thread of its own.
    RoomcastJsonThreads,
    /// roomcast with two shards on two threads.
    RoomcastTwoShards,
    /// roomcast, which drops new messages for a slow client.
    RoomcastLossy,
    /// roomcast-lossy, with a tenth of the clients paused.
    RoomcastPaused,
    /// roomcast in an axum router, behind an extractor that checks a token.
    RoomcastAxum,
    /// roomcast over TLS.
    RoomcastTls,
    /// roomcast, whose rooms share windows, with clients that can inflate.
    RoomcastShared,
    /// roomcast-shared, which compresses even for two recipients.
    RoomcastSharedByTwo,
    /// roomcast, which compresses each message alone and once, with clients that can inflate.
    RoomcastOnce,
    /// roomcast-shared, with clients that do not offer to inflate.
    RoomcastUnasked,
    /// yawc with a tokio broadcast channel for each room, and a compressor for each connection.
    Yawc,
    /// ws on Node.js, with a compressor for each connection.
    NodeWs,
    /// node-ws, which compresses each message alone, for each connection.
    NodeWsAlone,
    /// axum with a tokio broadcast channel for each room.
    Axum,
    /// axum as above, which feeds all queued messages before a flush.
    AxumJoined,
    /// fastwebsockets with an mpsc channel for each connection.
    Fastwebsockets,
    /// socketioxide, with the Socket.IO protocol.
    Socketioxide,
}

impl Contestant {
    /// The name in the tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Floor1 => "floor 1: epoll, a write per delivery",
            Self::Floor2 => "floor 2: epoll, a joined write",
            Self::Floor3 => "floor 3: epoll, joined writes in batches",
            Self::Roomcast => "roomcast",
            Self::RoomcastJson => "roomcast, JSON decoded and encoded",
            Self::RoomcastJsonSend => "roomcast, JSON, without io_uring",
            Self::RoomcastJsonThreads => "roomcast, JSON, shard on a thread",
            Self::RoomcastTwoShards => "roomcast, 2 shards on 2 threads",
            Self::RoomcastLossy => "roomcast, DropNewest",
            Self::RoomcastPaused => "roomcast, DropNewest, 10 % paused",
            Self::RoomcastAxum => "roomcast in axum, with a token",
            Self::RoomcastTls => "roomcast over TLS",
            Self::RoomcastShared => "roomcast, shared windows",
            Self::RoomcastSharedByTwo => "roomcast, shared windows, for 2 and more",
            Self::RoomcastOnce => "roomcast, compressed once",
            Self::RoomcastUnasked => "roomcast, shared windows, plain clients",
            Self::Yawc => "yawc, tokio broadcast, fed before a flush",
            Self::NodeWs => "ws on Node.js",
            Self::NodeWsAlone => "ws on Node.js, no context takeover",
            Self::Axum => "axum, tokio broadcast",
            Self::AxumJoined => "axum, tokio broadcast, fed before a flush",
            Self::Fastwebsockets => "fastwebsockets, task and mpsc",
            Self::Socketioxide => "socketioxide",
        }
    }

    pub(crate) fn is_floor(self) -> bool {
        matches!(self, Self::Floor1 | Self::Floor2 | Self::Floor3)
    }

    /// Whether the server is roomcast, which answers [`HubRequest`](crate::requests::HubRequest)s.
    pub(crate) fn is_roomcast(self) -> bool {
        let others = [Self::Axum, Self::AxumJoined, Self::Fastwebsockets, Self::Socketioxide];
        let compressors = [Self::Yawc, Self::NodeWs, Self::NodeWsAlone];
        !self.is_floor() && !others.contains(&self) && !compressors.contains(&self)
    }

    /// Why this machine cannot run the server; `None` if nothing is known to prevent it.
    pub(crate) fn obstacle(self) -> Option<String> {
        match self {
            Self::Floor3 => Ring::new().err().map(|error| format!("no io_uring here: {error}")),
            _ => None,
        }
    }

    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Self::Socketioxide => Dialect::SocketIo,
            _ => Dialect::Plain,
        }
    }

    /// Whether the clients offer to inflate.
    pub(crate) fn offers_deflate(self) -> bool {
        let shared = [Self::RoomcastShared, Self::RoomcastSharedByTwo, Self::RoomcastOnce];
        let others = [Self::Yawc, Self::NodeWs, Self::NodeWsAlone];
        shared.contains(&self) || others.contains(&self)
    }

    pub(crate) fn is_tls(self) -> bool {
        self == Self::RoomcastTls
    }

    /// One client of this many is paused; `None`: no client is paused.
    pub(crate) fn paused_one_in(self) -> Option<usize> {
        (self == Self::RoomcastPaused).then_some(10)
    }

    /// The number of threads of the server in a contest.
    pub(crate) fn threads(self) -> usize {
        if self == Self::RoomcastTwoShards { 2 } else { 1 }
    }

    /// Serves until the process ends, and floods a room on request.
    pub(crate) fn serve_flood(self, addr: IpAddr) -> Result<()> {
        let listener = listen(addr)?;
        process::end_with_parent();
        match self {
            Self::Floor2 => floor_flood::serve(listener),
            Self::RoomcastJson => block_on(1, hub::serve_flood(listener, 1)),
            _ => Err("this contestant has no flood".into()),
        }
    }

    /// Serves until the process ends.
    pub(crate) fn serve(self, addr: IpAddr, setting: Setting) -> Result<()> {
        if let Self::NodeWs | Self::NodeWsAlone = self {
            return node_ws::serve(addr, self == Self::NodeWs);
        }
        let listener = listen(addr)?;
        if !self.is_roomcast() {
            process::end_with_parent();
        }
        match self {
            Self::Floor1 => floor::serve(listener, Writing::Each),
            Self::Floor2 => floor::serve(listener, Writing::Joined),
            Self::Floor3 => floor::serve(listener, Writing::Batched(Box::new(Ring::new()?))),
            Self::Axum => block_on(setting.threads, axum_broadcast::serve(listener, false)),
            Self::AxumJoined => block_on(setting.threads, axum_broadcast::serve(listener, true)),
            Self::Fastwebsockets => block_on(setting.threads, fastwebsockets_mpsc::serve(listener)),
            Self::Socketioxide => block_on(setting.threads, socketio::serve(listener)),
            Self::Yawc => block_on(setting.threads, yawc_broadcast::serve(listener)),
            Self::RoomcastJson | Self::RoomcastJsonSend | Self::RoomcastJsonThreads => {
                block_on(setting.threads, hub::serve_json(listener, self.settings(setting)))
            }
            Self::RoomcastAxum => block_on(setting.threads, hub::serve_in_axum(listener)),
            _ => block_on(setting.threads, hub::serve_text(listener, self.settings(setting))),
        }
    }

    fn settings(self, setting: Setting) -> hub::Settings {
        hub::Settings {
            shards: setting.threads,
            connections: setting.connections,
            ping_interval: Duration::from_secs(setting.ping_seconds),
            is_lossy: matches!(self, Self::RoomcastLossy | Self::RoomcastPaused),
            is_tls: self.is_tls(),
            may_use_io_uring: self != Self::RoomcastJsonSend,
            has_shard_threads: self == Self::RoomcastJsonThreads,
            compression: match self {
                Self::RoomcastShared | Self::RoomcastUnasked => Some(Compression::shared()),
                Self::RoomcastSharedByTwo => Some(Compression::shared().min_recipients(2)),
                Self::RoomcastOnce => Some(Compression::once()),
                _ => None,
            },
        }
    }
}

fn block_on(
    threads: usize,
    serving: impl Future<Output = Result<()>> + Send + 'static,
) -> Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(threads).enable_all().build()?;
    // In a task, so that it runs on a worker thread like the tasks that the server spawns.
    runtime.block_on(async { tokio::spawn(serving).await? })
}

/// Listens, and reports the address to the parent.
fn listen(addr: IpAddr) -> Result<TcpListener> {
    process::raise_descriptor_limit()?;
    let socket = Socket::new(Domain::for_address((addr, 0).into()), Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((addr, 0)).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    process::say(&listener.local_addr()?)?;
    Ok(listener)
}

fn set_nodelay(stream: &mut TcpStream) {
    // If this fails, the connection is about to fail as well.
    let _ = stream.set_nodelay(true);
}
