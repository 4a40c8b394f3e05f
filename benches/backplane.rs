//! What goes from node to node: a million messages over a Redis that the benchmark starts.
//!
//! ```text
//! cargo bench --features redis --bench backplane [-- --rounds N --messages N]
//! ```
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

use std::error::Error;

use clap::Parser;

#[path = "backplane/frames.rs"]
mod frames;
#[path = "backplane/pair.rs"]
mod pair;
#[path = "../tests/programs/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod programs;
#[path = "../tests/servers/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use more of it")]
mod servers;
#[path = "../tests/hub/support.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use more of it")]
mod support;

/// As in a server under load: messages are freed by other threads than those that made them, which
/// costs glibc's allocator a quarter of the rate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Messages between nodes, against Redis itself.
#[derive(Parser)]
struct Options {
    /// Messages of a round.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Rounds, of which the medians are shown.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(pair::run(&options))
}

fn median<V: PartialOrd + Copy>(mut values: Vec<V>) -> V {
    values.sort_by(|a, b| a.partial_cmp(b).expect("rates and times are numbers"));
    values[values.len() / 2]
}
