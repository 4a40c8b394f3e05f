//! The cost of fan-out over real sockets, compared with other servers and with the kernel alone.
//!
//! ```text
//! cargo bench -p benches --bench sockets -- --progress            all of it, about 30 minutes
//! cargo bench -p benches --bench sockets -- --progress --short    about three minutes
//! ```
//!
//! Each contestant is a server in a process of its own, on one core. Its clients are a load generator
//! in another process, on another core (see `load.rs`). All servers of a scene and their clients run at
//! the same time, and take turns cell by cell, round by round, so that other work of the machine
//! affects all of them alike. The tables show medians over the rounds; a ratio is the median of the
//! ratios of each round. If the load generator never pauses, as is common with many messages in flight,
//! the deliveries per second are its limit; the JSON output has its CPU time.
//!
//! The floors are lower bounds for a server that sends each message to each member: a bare epoll loop
//! with one `write` for each delivery (floor 1), with one joined `write` for each socket and turn of
//! the loop (floor 2), and with the same writes in batches of up to 64, each batch with one system call
//! of io_uring (floor 3). Where the kernel does not allow io_uring, floor 3 is left out, and a line below
//! the tables of a scene says so. roomcast uses io_uring where it is allowed. `roomcast-json-send` is
//! `roomcast-json` without io_uring.
//!
//! The last column of the first table of a scene says what the server's writes used: `io_uring`, with the
//! part of the writes that left together, or `send`, a system call for each. It comes from the counters of
//! the hub, so it is what the server did, not what was asked for. `-` means that it is not known.
//!
//! In one scene the server makes the load: 1, 4 and 16 tasks flood a room, while a client of another
//! room times its echoes (see `flooded.rs`). The floor of this scene is a bare epoll loop that writes
//! to each member as much of 512 KiB of joined messages as the socket accepts. The flooded members and
//! the client of the other room share a core, so the members add to the time of the echo: the floor
//! shows how much.
//!
//! Two scenes do not use loopback but network namespaces: each client is some milliseconds away,
//! behind an MTU of 1,500. The relay between the namespaces runs in the process that measures, with
//! priority over others. The work that the relay does for the server's kernel, such as the receipt of
//! acknowledgements, does not count as the server's. There, small messages cost
//! a line with `io_uring` far less than a line with `send`, so compare it with floor 3 only. These scenes
//! need root, and `ip` of iproute2.
//!
//! The scenes of compression are played on request: `--scene compression`. There, most clients offer to inflate
//! (permessage-deflate). The load generator counts the bytes of compressed messages, and one of its clients inflates
//! them. The servers with which roomcast is compared have a compressor for each connection. One of them runs on
//! Node.js: it needs `node`, and `npm`, which installs the package `ws` once. These scenes also measure the memory of
//! idle connections, and of half as many rooms with two members each and with traffic.
//!
//! Two commands need a large machine to show much: `-- scaling` compares numbers of shards (see `scaling.rs`), and
//! `-- connections` holds up to a million connections (see `connections/mod.rs`).
//!
//! The benchmark needs Linux: the floors and the load generator use epoll, and processes are pinned to
//! cores, which may share one physical core.

mod connections;
mod contest;
mod contestants;
mod feed;
mod figures;
mod flooded;
mod handshake;
mod layout;
mod load;
mod memory;
mod pair;
mod part;
mod plan;
mod plot;
mod progress;
mod report;
mod requests;
mod room;
mod sample;
mod scaling;
mod stream;
mod wire;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use contestants::{Contestant, Setting};
use figures::Figures;
use plan::Cell;
use shared::{Error, Result};

/// Measures the cost of fan-out over real sockets, compared with other servers and with the kernel alone.
#[derive(Parser)]
struct Program {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
    /// The flag that `cargo bench` adds; ignored.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Measures fan-out with 1, 2, 4, 8 and 16 shards.
    Scaling(scaling::Options),
    /// Checks the limits of the system, and measures up to a million connections to one server.
    Connections(connections::Options),
    #[command(flatten)]
    Role(Role),
}

/// The roles of the child processes.
#[derive(Subcommand)]
enum Role {
    /// Runs a server.
    #[command(hide = true)]
    Serve {
        contestant: Contestant,
        /// The address to listen on.
        addr: IpAddr,
        #[command(flatten)]
        setting: Setting,
    },
    /// Runs the clients of a server that only serves.
    #[command(hide = true)]
    Load,
    /// Runs clients that are idle.
    #[command(hide = true)]
    Hold,
    /// Runs a server that floods a room on request.
    #[command(hide = true)]
    Flood {
        contestant: Contestant,
        /// The address to listen on.
        addr: IpAddr,
    },
    /// Runs the clients of a server that floods a room.
    #[command(hide = true)]
    Watch,
}

#[derive(Args)]
struct Options {
    /// Measures two short rounds of fan-out, in half of the cells; takes about three minutes.
    #[arg(long)]
    short: bool,
    /// The number of rounds; the tables show medians [default: 5, with --short 2].
    #[arg(long)]
    rounds: Option<usize>,
    /// The time of each measurement, in milliseconds [default: 700, with --short 120].
    #[arg(long, value_name = "MS")]
    time: Option<u64>,
    /// Measures only these contestants.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Contestant>,
    /// Measures only the scenes whose names contain this text, such as rooms, shards, paused, fronts, away,
    /// flood, idle, drop. The scenes of compression are measured only if this text contains "compression".
    #[arg(long)]
    scene: Option<String>,
    /// Measures fan-out only with these numbers of messages in flight.
    #[arg(long, value_delimiter = ',')]
    in_flight: Vec<usize>,
    /// Measures fan-out only with messages of these sizes, in bytes.
    #[arg(long, value_delimiter = ',')]
    bytes: Vec<usize>,
    /// The number of idle connections whose memory is measured.
    #[arg(long, default_value_t = 16_000)]
    idle: usize,
    /// Shows a progress bar, on a terminal.
    #[arg(long)]
    progress: bool,
    /// Writes the results into a file, as JSON. The file is written anew after each scene.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws the cost of a delivery into a file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
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

    fn measures(&self, cell: &Cell) -> bool {
        let is_asked = |asked: &[usize], value| asked.is_empty() || asked.contains(&value);
        is_asked(&self.in_flight, cell.in_flight) && is_asked(&self.bytes, cell.bytes)
    }

    /// Whether the scenes that were asked for are of this kind.
    fn asks_for(&self, kind: &str) -> bool {
        self.scene.as_deref().is_some_and(|part| part.contains(kind))
    }

    fn shows(&self, scene: &str) -> bool {
        self.scene.as_deref().is_none_or(|part| scene.contains(part))
    }

    fn save(&self, figures: &Figures) -> Result<()> {
        if let Some(file) = &self.json {
            std::fs::write(file, serde_json::to_string_pretty(figures)?)?;
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let Program { command, options, .. } = Program::parse();
    match command {
        Some(Command::Scaling(options)) => scaling::run(&options),
        Some(Command::Connections(options)) => connections::run(&options),
        Some(Command::Role(role)) => role.play(),
        None => compare(&options),
    }
}

impl Role {
    fn play(self) -> Result<()> {
        match self {
            Self::Serve { contestant, addr, setting } => contestant.serve(addr, setting),
            Self::Load => load::run(),
            Self::Hold => connections::clients::run(),
            Self::Flood { contestant, addr } => contestant.serve_flood(addr),
            Self::Watch => flooded::watch(),
        }
    }
}

/// Compares the contestants.
fn compare(options: &Options) -> Result<()> {
    let figures = contest::play(options)?;
    if figures.is_empty() {
        return Err("nothing to measure: see --help for the scenes and contestants".into());
    }
    print!("{}", report::tables(&figures));
    options.save(&figures)?;
    if let Some(file) = &options.plot {
        plot::draw(&figures, file)?;
    }
    Ok(())
}
