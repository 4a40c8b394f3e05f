//! The throughput and latency of messages between nodes, over a Redis that the benchmark starts.
//!
//! ```text
//! cargo bench -p benches --bench backplane [-- --rounds N --messages N]
//! cargo bench -p benches --bench backplane -- --scene growth            less than five minutes
//! cargo bench -p benches --bench backplane -- --scene growth --short    20 seconds
//! ```
//!
//! # The pair
//!
//! Four contestants take turns on one Redis server, each with messages of 128 bytes:
//!
//! - *roomcast*: a publisher at node A, and a WebSocket client at node B that checks that the messages
//!   are complete and in order. Timed from the first publish to the last message at the client.
//! - *with a key*: the same, with nodes that share a key.
//! - *PUBLISH, awaited*: one command for each message, each awaited before the next; a subscriber reads.
//! - *redis-benchmark -P 64*: 50 clients that pipeline `PUBLISH`; nobody subscribes.
//!
//! The benchmark then measures the time of a single message from the publish at A to the client at B,
//! and the time of a bare `PUBLISH` to a subscriber.
//!
//! # Growth
//!
//! 2, 4 and 8 nodes of one shard each; each node has a process of its own, or all share one process.
//! Each node has members in a tenth of the rooms and publishes to random rooms, so a message concerns
//! nodes / 10 nodes on average. A node has four WebSocket clients, which run in the process that
//! measures, so the CPU time of the nodes does not include the clients. The settings differ in which
//! messages a node can avoid receiving:
//!
//! - 10,000 rooms by 1 channel: every node gets every message.
//! - 10,000 rooms by 64 channels: the 1,000 rooms of a node need all channels.
//! - 10,000 rooms by 4,096 channels: the 1,000 rooms of a node need some 890 channels, which carry 29 %
//!   of the messages.
//! - 100 rooms by 1 channel: every node gets every message, with few rooms.
//! - 100 rooms by 64 channels: the 10 rooms of a node need at most 10 channels, which carry a fifth.
//!
//! The load is a closed loop. A node publishes 1,024 messages at a time, and continues while at most
//! 4,096 of its own messages are not delivered everywhere. So no queue comes near its bound: neither
//! the outbox, nor a client's queue, nor the buffer of a subscriber at Redis. The rate is therefore
//! the rate from end to end, not the rate at which a publisher can push.
//!
//! Reasons to trust the figures: the numbers of rooms and messages determine the members of each room
//! and the room of each message. So the clients know how many deliveries each 1,024 messages cause, and
//! the run continues only when all deliveries have arrived. A client also checks that no message comes
//! twice, out of order within a room, or for a room that the client is not in. If a check fails, or a
//! node counts a message as lost, dropped or overrun, the benchmark fails; the run is listed below the
//! tables and left out of them. One inaccuracy remains: the last messages of a run may go to rooms
//! without members, and may still be in transit when the counters are read. These are a few of hundreds
//! of thousands.
//!
//! The nodes, Redis and the clients share all cores, so the rate depends on the machine. The CPU time of
//! a message is the figure that compares across machines. Linux reports CPU time for each process; the
//! work of the loopback device counts for the sender.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use shared::Result;

mod clients;
mod counts;
mod fleet;
mod frames;
mod growth;
mod node;
mod pair;
mod plan;
mod table;

/// Like in a server under load, one thread allocates a message and another frees it; with glibc's allocator the rate
/// is a quarter lower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures messages between nodes, and compares them with Redis alone.
#[derive(Parser)]
struct Program {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
}

/// The roles of the child processes.
#[derive(Subcommand)]
#[command(hide = true)]
enum Role {
    /// Runs nodes; takes requests on the standard input.
    Nodes,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scene {
    /// Two nodes in one process, compared with Redis alone.
    Pair,
    /// 2, 4 and 8 nodes.
    Growth,
}

#[derive(Args)]
struct Options {
    /// The scene to measure.
    #[arg(long, value_enum, default_value_t = Scene::Pair)]
    scene: Scene,
    /// The messages of a round; in growth, the most messages of a run.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// The number of rounds; the tables show medians [default: 5; growth: 3, with --short 1].
    #[arg(long)]
    rounds: Option<usize>,
    /// Growth: the time that each run publishes, in milliseconds [default: 1500, with --short 200].
    #[arg(long, value_name = "MS")]
    time: Option<u64>,
    /// Growth: the numbers of nodes, in ascending order; from 2 to 16.
    #[arg(long, value_delimiter = ',', default_values_t = [2, 4, 8])]
    #[arg(value_parser = clap::value_parser!(u8).range(2..=16))]
    nodes: Vec<u8>,
    /// Growth: measures only the first settings; takes less than 20 seconds.
    #[arg(long)]
    short: bool,
    /// The flag that `cargo bench` adds; ignored.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn rounds(&self) -> usize {
        let default = match self.scene {
            Scene::Pair => 5,
            Scene::Growth if self.short => 1,
            Scene::Growth => 3,
        };
        self.rounds.unwrap_or(default).max(1)
    }

    fn nodes(&self) -> Vec<usize> {
        self.nodes.iter().copied().map(usize::from).collect()
    }

    fn time(&self) -> Duration {
        self.time.map_or(growth::time(self.short), Duration::from_millis)
    }
}

fn main() -> Result<()> {
    let Program { role, options } = Program::parse();
    if let Some(Role::Nodes) = role {
        return node::run();
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match options.scene {
        Scene::Pair => runtime.block_on(pair::run(&options)),
        Scene::Growth => runtime.block_on(growth::run(&options)),
    }
}

fn median<V: PartialOrd + Copy>(mut values: Vec<V>) -> V {
    values.sort_by(|a, b| a.partial_cmp(b).expect("rates and times are numbers"));
    values[values.len() / 2]
}
