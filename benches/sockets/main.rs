//! Fan-out over real sockets: what a delivery costs, against others and against the kernel itself.
//!
//! ```text
//! cargo bench -p benches --bench sockets -- --progress            all of it, a quarter of an hour
//! cargo bench -p benches --bench sockets -- --progress --short    two minutes
//! ```
//!
//! Each contestant is a server in a process of its own, on one core; its clients are a load
//! generator in another, on another core (see `load.rs`). All servers of a scene and their clients
//! are there at once, and take turns cell by cell, round by round, so that whatever else the machine
//! does meets all of them. Shown are medians over the rounds; a ratio is the median of the ratios of
//! each round. Where the load generator works without a pause, as often with many messages in
//! flight, deliveries per second are its limit; the JSON has its processor time.
//!
//! The floors are what a server cannot go below that gives each member each message: a bare epoll
//! loop with one `write` a delivery (floor 1), and with one joined `write` a socket for all that a
//! turn of its loop has brought (floor 2).
//!
//! In one scene the server makes the load: it floods a room of its own by 1, 4 and 16 tasks, while a
//! client of another room times its echoes (see `flooded.rs`). The floor of that scene is a bare epoll
//! loop that writes to each member as much of 512 KiB of joined messages as the socket takes. The
//! members and the client of the other room share a core, so the echo has a part that is theirs: the
//! floor shows it, too.
//!
//! Two scenes are not on loopback, but between network namespaces: each client is some milliseconds
//! away, behind an MTU of 1,500. The relay between them runs in the process that measures, before
//! others; what it does for the server's kernel, such as to take the acknowledgements, is not counted
//! as the server's. These scenes need root, and `ip` of iproute2.
//!
//! For Linux: the floors and the load generator use epoll, and processes are pinned to cores, which
//! may be two of one physical core.

mod contest;
mod contestants;
mod figures;
mod flooded;
mod load;
mod pair;
mod plan;
mod plot;
mod report;
mod stream;
mod wire;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use contestants::Contestant;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Error> = std::result::Result<T, E>;

/// Fan-out over real sockets: what a delivery costs, against others and against the kernel itself.
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
    Serve {
        contestant: Contestant,
        /// The address to listen at.
        addr: IpAddr,
    },
    Load,
    /// Serves, and floods a room when it is told to.
    Flood {
        contestant: Contestant,
        /// The address to listen at.
        addr: IpAddr,
    },
    /// The clients of such a server.
    Watch,
}

#[derive(Args)]
struct Options {
    /// Less than two minutes: two short rounds of fan-out, in half of the cells.
    #[arg(long)]
    short: bool,
    /// Rounds, of which the medians are shown [default: 5, with --short 2].
    #[arg(long)]
    rounds: Option<usize>,
    /// How long each measurement sends, in milliseconds [default: 700, with --short 120].
    #[arg(long, value_name = "MS")]
    time: Option<u64>,
    /// Only these contestants.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Contestant>,
    /// Only scenes whose name has this in it: rooms, shards, paused, fronts, away, flood,
    /// idle, drop.
    #[arg(long)]
    scene: Option<String>,
    /// Connections whose memory is counted.
    #[arg(long, default_value_t = 16_000)]
    idle: usize,
    /// Shows where it is, on a terminal.
    #[arg(long)]
    progress: bool,
    /// Writes what was measured into a file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws what a delivery costs into a file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.short { 2 } else { 5 }).max(1)
    }

    fn duration(&self) -> Duration {
        Duration::from_millis(self.time.unwrap_or(if self.short { 120 } else { 700 }))
    }

    fn takes_part(&self, contestant: Contestant) -> bool {
        self.only.is_empty() || self.only.contains(&contestant)
    }

    fn shows(&self, scene: &str) -> bool {
        self.scene.as_deref().is_none_or(|part| scene.contains(part))
    }
}

fn main() -> Result<()> {
    let Program { role, options } = Program::parse();
    match role {
        Some(Role::Serve { contestant, addr }) => contestant.serve(addr),
        Some(Role::Load) => load::run(),
        Some(Role::Flood { contestant, addr }) => contestant.serve_flood(addr),
        Some(Role::Watch) => flooded::watch(),
        None => {
            let figures = contest::play(&options)?;
            if figures.is_empty() {
                return Err("nothing to measure: see --help for the scenes and contestants".into());
            }
            print!("{}", report::tables(&figures));
            if let Some(file) = &options.json {
                std::fs::write(file, serde_json::to_string_pretty(&figures)?)?;
            }
            if let Some(file) = &options.plot {
                plot::draw(&figures, file)?;
            }
            Ok(())
        }
    }
}
