//! What goes from node to node: a million messages over a Redis that the benchmark starts.
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
//! - *roomcast*: a publisher at node A, a WebSocket client at node B, who checks that the messages
//!   are complete and in order. Timed from the first publish to the last message at the client.
//! - *with a key*: the same, where the nodes share a key.
//! - *PUBLISH, awaited*: one command a message, each awaited before the next; a subscriber reads.
//! - *redis-benchmark -P 64*: what the server takes from 50 clients that pipeline, to nobody.
//!
//! Then the time that a single message takes from the publish at A to the client at B, and the same
//! for a bare `PUBLISH` to a subscriber.
//!
//! # Growth
//!
//! 2, 4 and 8 nodes of one shard each, every node in a process of its own or all in one. Each node has
//! members in a tenth of the rooms and publishes to rooms at random, so a message concerns nodes / 10
//! nodes on average. A node has four WebSocket clients, which run in the process that measures: their
//! processor time is not the nodes'. The settings differ in what a node can leave out:
//!
//! - 10,000 rooms by 1 channel: every node gets every message.
//! - 10,000 rooms by 64 channels: the 1,000 rooms of a node need all channels.
//! - 10,000 rooms by 4,096 channels: the 1,000 rooms of a node need some 890 channels, which carry 29 %
//!   of the messages.
//! - 100 rooms by 1 channel: every node gets every message, for few rooms.
//! - 100 rooms by 64 channels: the 10 rooms of a node need at most 10 channels, which carry a fifth.
//!
//! The load is a closed loop. A node publishes 1,024 messages at a time, and goes on when at most
//! 4,096 of its own have not been delivered everywhere. So no queue comes near its bound, neither
//! the outage queue nor a client's nor that of a subscriber at Redis; and the rate is what the machine
//! carries from end to end, not what a publisher can push.
//!
//! Reasons to trust the figures: the numbers of rooms and messages decide who is in which room and
//! where each message goes. So the clients' side knows how many deliveries each 1,024 messages must
//! bring, and the run goes on only when all of them have come. A client also checks that nothing comes
//! twice, out of order within a room, or to a room that it is not in. If any of this happens, or a node
//! counts anything as lost, dropped or overrun, the run is listed below the tables and is not in them,
//! and the benchmark fails. One inaccuracy is left: the last messages of a run may go to rooms without
//! members, and may still be on their way when the counters are read. These are a few of hundreds of
//! thousands.
//!
//! The nodes, Redis and the clients share all cores, so a rate tells of the machine. The processor
//! time for a message is the figure that holds elsewhere. Linux reports it for each process; work of
//! the loopback device counts for whoever sends.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod clients;
mod counts;
mod fleet;
mod frames;
mod growth;
mod node;
mod pair;
mod plan;
mod table;

/// As in a server under load: messages are freed by other threads than those that made them, which
/// costs glibc's allocator a quarter of the rate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Error> = std::result::Result<T, E>;

/// Messages between nodes, against Redis itself.
#[derive(Parser)]
struct Program {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
}

/// What the processes are that it starts of itself.
#[derive(Subcommand)]
#[command(hide = true)]
enum Role {
    /// Nodes, as told on the standard input.
    Nodes,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scene {
    /// Two nodes in one process, against Redis itself.
    Pair,
    /// 2, 4 and 8 nodes.
    Growth,
}

#[derive(Args)]
struct Options {
    #[arg(long, value_enum, default_value_t = Scene::Pair)]
    scene: Scene,
    /// Messages of a round; of growth at most so many.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Rounds, of which the medians are shown [default: 5; of growth 3, with --short 1].
    #[arg(long)]
    rounds: Option<usize>,
    /// Growth: how long each run publishes, in milliseconds [default: 1500, with --short 200].
    #[arg(long, value_name = "MS")]
    time: Option<u64>,
    /// Growth: these numbers of nodes, from few to many; 2 to 16.
    #[arg(long, value_delimiter = ',', default_values_t = [2, 4, 8])]
    #[arg(value_parser = clap::value_parser!(u8).range(2..=16))]
    nodes: Vec<u8>,
    /// Growth: less than 20 seconds, in the first settings.
    #[arg(long)]
    short: bool,
    /// What cargo adds.
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
