//! The contestants: servers that send each message of a client to all members of its room.

mod axum_broadcast;
mod fastwebsockets_mpsc;
mod floor;
mod floor_flood;
mod hub;
mod node_ws;
mod socketio;
mod yawc_broadcast;

use std::future::Future;
use std::net::{IpAddr, TcpListener};
use std::time::Duration;

use clap::ValueEnum;
use roomcast::Compression;
use serde::Serialize;
use tokio::net::TcpStream;

use crate::Result;
use crate::wire::Dialect;
use shared::process;

/// A time so long that no timer fires while others are measured.
const HOUR: Duration = Duration::from_secs(3_600);

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
        matches!(self, Self::Floor1 | Self::Floor2)
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

    /// The number of threads of the server.
    pub(crate) fn threads(self) -> usize {
        if self == Self::RoomcastTwoShards { 2 } else { 1 }
    }

    /// Serves until the process ends, and floods a room on request.
    pub(crate) fn serve_flood(self, addr: IpAddr) -> Result<()> {
        let listener = listen(addr)?;
        match self {
            Self::Floor2 => floor_flood::serve(listener),
            Self::RoomcastJson => self.block_on(hub::serve_flood(listener, self.threads())),
            _ => Err("this contestant has no flood".into()),
        }
    }

    /// Serves until the process ends.
    pub(crate) fn serve(self, addr: IpAddr) -> Result<()> {
        if let Self::NodeWs | Self::NodeWsAlone = self {
            return node_ws::serve(addr, self == Self::NodeWs);
        }
        let listener = listen(addr)?;
        match self {
            Self::Floor1 => floor::serve(listener, false),
            Self::Floor2 => floor::serve(listener, true),
            Self::Axum => self.block_on(axum_broadcast::serve(listener, false)),
            Self::AxumJoined => self.block_on(axum_broadcast::serve(listener, true)),
            Self::Fastwebsockets => self.block_on(fastwebsockets_mpsc::serve(listener)),
            Self::Socketioxide => self.block_on(socketio::serve(listener)),
            Self::Yawc => self.block_on(yawc_broadcast::serve(listener)),
            Self::RoomcastJson | Self::RoomcastJsonSend | Self::RoomcastJsonThreads => {
                self.block_on(hub::serve_json(listener, self.settings()))
            }
            Self::RoomcastAxum => self.block_on(hub::serve_in_axum(listener)),
            _ => self.block_on(hub::serve_text(listener, self.settings())),
        }
    }

    fn settings(self) -> hub::Settings {
        hub::Settings {
            shards: self.threads(),
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

    fn block_on(self, serving: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(self.threads()).enable_all().build()?;
        // In a task, so that it runs on a worker thread like the tasks that the server spawns.
        runtime.block_on(async { tokio::spawn(serving).await? })
    }
}

/// Listens, and reports the address to the parent.
fn listen(addr: IpAddr) -> Result<TcpListener> {
    process::raise_descriptor_limit()?;
    process::end_with_parent();
    let listener = TcpListener::bind((addr, 0))?;
    listener.set_nonblocking(true)?;
    process::say(&listener.local_addr()?)?;
    Ok(listener)
}

fn set_nodelay(stream: &mut TcpStream) {
    // If this fails, the connection is about to fail as well.
    let _ = stream.set_nodelay(true);
}
