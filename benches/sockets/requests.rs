//! What the parent asks of the load generator, and its answers.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::wire::Dialect;

/// A request to the load generator.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Connects all clients, and waits until all have joined.
    Connect(Crowd),
    /// Sends messages for a while, and measures.
    Measure(Load),
    /// Closes all connections at once, and measures how long new connections take meanwhile.
    Drop { watch_for: Duration },
}

/// The clients of a scene, and their server.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Crowd {
    pub(crate) server: SocketAddr,
    pub(crate) server_pid: u32,
    pub(crate) dialect: Dialect,
    pub(crate) is_tls: bool,
    /// The number of the first room.
    pub(crate) first_room: usize,
    pub(crate) rooms: usize,
    pub(crate) members: usize,
    /// The threads of the load generator that share the clients.
    pub(crate) threads: usize,
    /// Whether the clients offer to inflate.
    pub(crate) offers_deflate: bool,
    /// One member of this many does not read.
    pub(crate) paused_one_in: Option<usize>,
    /// Whether each member has a link of its own, and connects from the address at the end of the link.
    pub(crate) is_away: bool,
}

/// The load of a measurement.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Messages in flight in each room.
    pub(crate) in_flight: usize,
    /// Bytes of a message.
    pub(crate) bytes: usize,
    pub(crate) duration: Duration,
}

/// A request to a server that is roomcast. The answer is [`HubCounts`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum HubRequest {
    Count,
    /// Sends a message to all connections.
    Broadcast {
        bytes: usize,
    },
}

/// What a hub has done since its start.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct HubCounts {
    /// The connections that are open now.
    pub(crate) connections: u64,
    /// Pings that were sent.
    pub(crate) pings: u64,
    /// Writes to sockets.
    pub(crate) writes: u64,
    /// Those of them that left together with others, with one system call of io_uring.
    pub(crate) batched_writes: u64,
}

/// An answer of the load generator.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Connected,
    Measured(Measured),
    Dropped { served: usize, slowest: Duration },
}

/// The result of a measurement.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) deliveries: u64,
    /// The bytes of the frames that the members have received, with their headers.
    pub(crate) wire_bytes: u64,
    /// The number of deliveries that were compressed.
    pub(crate) compressed: u64,
    pub(crate) elapsed: Duration,
    /// The CPU time of the server, and of the load generator.
    pub(crate) server_cpu: Duration,
    pub(crate) load_cpu: Duration,
    /// Quantiles of the latency, from before a message is sent until a member has read it, in nanoseconds.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
}
