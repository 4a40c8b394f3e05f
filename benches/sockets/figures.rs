//! The results, and their medians.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::contestants::Contestant;
use crate::plan::Cell;
use crate::requests::{HubCounts, Measured};
use crate::wire::server_frame_bytes;
use support::flood::clients::Measured as FloodMeasured;

/// All results.
#[derive(Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) machine: String,
    pub(crate) rounds: usize,
    pub(crate) scenes: Vec<SceneFigures>,
    pub(crate) floods: Vec<Flood>,
    pub(crate) memory: Vec<Memory>,
    pub(crate) busy: Vec<Busy>,
    pub(crate) drops: Vec<Drops>,
    /// The contestants that failed in floods, memory or drops, and their errors.
    pub(crate) failures: Vec<(Contestant, String)>,
}

impl Figures {
    pub(crate) fn is_empty(&self) -> bool {
        let Self { scenes, floods, memory, busy, drops, failures, .. } = self;
        let is_memory_empty = memory.is_empty() && busy.is_empty();
        let others = is_memory_empty && drops.is_empty() && failures.is_empty();
        scenes.is_empty() && floods.is_empty() && others
    }
}

/// The results of a scene.
#[derive(Serialize)]
pub(crate) struct SceneFigures {
    pub(crate) name: &'static str,
    pub(crate) contestants: Vec<Contestant>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) series: Vec<Series>,
    /// What the writes of each contestant used, in all cells together.
    pub(crate) writes: Vec<(Contestant, Writes)>,
    /// The contestants that failed, and their errors.
    pub(crate) failures: Vec<(Contestant, String)>,
}

/// What the writes of a server used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Writes {
    Unknown,
    /// A system call for each.
    Send,
    /// This part of them left together with others, with io_uring. Each other write was a system call.
    IoUring {
        part: f64,
    },
}

impl Writes {
    /// What the writes of a hub with these counts used.
    pub(crate) fn of(counts: HubCounts) -> Self {
        match counts.batched_writes {
            0 => Self::Send,
            batched => Self::IoUring { part: batched as f64 / counts.writes as f64 },
        }
    }
}

impl fmt::Display for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("-"),
            Self::Send => f.write_str("send"),
            Self::IoUring { part } => write!(f, "io_uring ({:.0} %)", part * 1e2),
        }
    }
}

/// The results of one contestant in one cell, round by round.
#[derive(Serialize)]
pub(crate) struct Series {
    pub(crate) contestant: Contestant,
    pub(crate) cell: Cell,
    pub(crate) rounds: Vec<Measured>,
}

/// The results of a flood by this many tasks, round by round.
#[derive(Serialize)]
pub(crate) struct Flood {
    pub(crate) contestant: Contestant,
    pub(crate) tasks: usize,
    pub(crate) rounds: Vec<FloodMeasured>,
}

/// The memory of an idle connection.
#[derive(Serialize)]
pub(crate) struct Memory {
    pub(crate) contestant: Contestant,
    pub(crate) connections: usize,
    pub(crate) bytes_each: f64,
}

/// The resident memory of a server whose many small rooms all have traffic, in bytes.
#[derive(Serialize)]
pub(crate) struct Busy {
    pub(crate) contestant: Contestant,
    pub(crate) rooms: usize,
    pub(crate) connections: usize,
    /// With a few connections.
    pub(crate) empty: u64,
    /// With all connections, after a message of 128 bytes or a few to each room.
    pub(crate) connected: u64,
    /// After a while with a message of 1 KiB in flight in each room.
    pub(crate) busy: u64,
}

/// The waits of new clients while all other clients were dropped at once.
#[derive(Serialize)]
pub(crate) struct Drops {
    pub(crate) contestant: Contestant,
    pub(crate) dropped: usize,
    pub(crate) served: usize,
    pub(crate) slowest: Duration,
}

impl Measured {
    /// The server's CPU time for one delivery, in microseconds.
    pub(crate) fn cpu_micros(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.deliveries as f64
    }

    /// The bytes of a delivery on the wire, as a part of the bytes of an uncompressed delivery.
    pub(crate) fn wire_part(&self, cell: Cell) -> f64 {
        let plain = self.deliveries as f64 * server_frame_bytes(cell.bytes) as f64;
        self.wire_bytes as f64 / plain
    }

    /// The part of the deliveries that was compressed.
    pub(crate) fn compressed_part(&self) -> f64 {
        self.compressed as f64 / self.deliveries as f64
    }

    /// Deliveries a second.
    pub(crate) fn rate(&self) -> f64 {
        self.deliveries as f64 / self.elapsed.as_secs_f64()
    }
}

impl Series {
    /// The median over the rounds.
    pub(crate) fn median(&self, of: impl Fn(&Measured) -> f64) -> f64 {
        median(self.rounds.iter().map(of))
    }

    /// The median of the ratios to another contestant in each round.
    pub(crate) fn ratio(&self, to: &Series, of: impl Fn(&Measured) -> f64) -> f64 {
        median(self.rounds.iter().zip(&to.rounds).map(|(ours, theirs)| of(ours) / of(theirs)))
    }
}

impl Flood {
    /// The median over the rounds.
    pub(crate) fn median(&self, of: impl Fn(&FloodMeasured) -> f64) -> f64 {
        median(self.rounds.iter().map(of))
    }

    /// The slowest echo of all rounds.
    pub(crate) fn echo_worst(&self) -> Duration {
        self.rounds.iter().map(|measured| measured.echo_worst).max().unwrap_or_default()
    }

    /// The median of the ratios to the floor in each round; `None` if no floor takes part.
    pub(crate) fn ratio(&self, floods: &[Flood]) -> Option<f64> {
        let is_floor = |other: &&Flood| other.contestant.is_floor() && other.tasks == self.tasks;
        let floor = floods.iter().find(is_floor)?;
        let rounds = self.rounds.iter().zip(&floor.rounds);
        Some(median(rounds.map(|(ours, theirs)| ours.cpu_micros() / theirs.cpu_micros())))
    }
}

impl SceneFigures {
    /// The results of a contestant in a cell; `None` if there are none.
    pub(crate) fn series(&self, contestant: Contestant, cell: Cell) -> Option<&Series> {
        let is_meant = |series: &&Series| series.contestant == contestant && series.cell == cell;
        self.series.iter().find(is_meant).filter(|series| !series.rounds.is_empty())
    }

    /// What the writes of a contestant used; `None` if the contestant failed.
    pub(crate) fn writes(&self, contestant: Contestant) -> Option<Writes> {
        let is_meant = |(other, _): &&(Contestant, Writes)| *other == contestant;
        self.writes.iter().find(is_meant).map(|&(_, writes)| writes)
    }

    /// The series to compare with: the cheaper floor, or the first contestant if no floor takes part.
    pub(crate) fn yardstick(&self, cell: Cell) -> Option<&Series> {
        let cost = |series: &&Series| series.median(Measured::cpu_micros);
        let floors = self.contestants.iter().filter(|contestant| contestant.is_floor());
        let floors = floors.filter_map(|&floor| self.series(floor, cell));
        let best = floors.min_by(|a, b| cost(a).total_cmp(&cost(b)));
        best.or_else(|| self.series(*self.contestants.first()?, cell))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => (values[even / 2 - 1] + values[even / 2]) / 2.0,
    }
}
