//! How the cost of fan-out and the throughput change with the number of shards.
//!
//! For each number of shards there is a server with as many threads of its runtime. All servers run at the same time
//! and take turns, as in the contest. The clients of a server are a process with several threads, on other cores where
//! there are enough.

use std::fmt::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::Result;
use crate::contest::machine;
use crate::contestants::Contestant;
use crate::figures::{Series, Writes};
use crate::layout::Layout;
use crate::pair::{FAN_OUT, Pair};
use crate::plan::{self, Scene};
use crate::report::{put_row, put_rule};
use crate::requests::{Load, Measured};
use shared::process;

/// The numbers of shards that are measured by default, up to the number of cores.
const SHARDS: [usize; 5] = [1, 2, 4, 8, 16];

/// The server that is measured.
const SERVER: Contestant = Contestant::RoomcastJson;

#[derive(Args)]
pub(crate) struct Options {
    /// The numbers of shards, such as 1,2,4, each with as many threads [default: 1, 2, 4, 8 and 16, up to the number of
    /// cores].
    #[arg(long, value_delimiter = ',')]
    shards: Vec<NonZeroUsize>,
    /// The number of threads of the clients of each server [default: as many as there are cores left, at most 3 for
    /// each shard].
    #[arg(long)]
    client_threads: Option<NonZeroUsize>,
    /// The number of rounds; the tables show medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The time of each measurement, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 700)]
    time: u64,
    /// Writes the results into a file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Measures, and prints a table for each cell.
pub(crate) fn run(options: &Options) -> Result<()> {
    let cores = process::cores()?.len();
    let mut shards: Vec<usize> = match options.shards.is_empty() {
        true => SHARDS.into_iter().filter(|&shards| shards <= cores).collect(),
        false => options.shards.iter().map(|shards| shards.get()).collect(),
    };
    // Ratios are to the smallest number.
    shards.sort_unstable();
    shards.dedup();
    println!("{}; medians of {} rounds", machine(), options.rounds.max(1));
    let mut all = Vec::new();
    for scene in plan::scaling() {
        let lines = play(&scene, &shards, options)?;
        print!("{}", tables(&scene, &lines));
        all.extend(lines);
    }
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_string_pretty(&all)?)?;
    }
    Ok(())
}

/// The results of a server in a scene.
#[derive(Serialize)]
struct Line {
    scene: &'static str,
    shards: usize,
    client_threads: usize,
    /// Whether the clients have cores of their own.
    is_separate: bool,
    writes: Writes,
    cells: Vec<Series>,
}

fn play(scene: &Scene, shards: &[usize], options: &Options) -> Result<Vec<Line>> {
    let mut teams = Vec::new();
    for &shards in shards {
        let mut layout = Layout::with_threads(shards)?;
        if let Some(threads) = options.client_threads {
            layout.client_threads = threads.get();
        }
        let mut pair = Pair::start(SERVER, None, FAN_OUT, &layout)?;
        pair.connect(scene.rooms, scene.members)?;
        let new = |&cell| Series { contestant: SERVER, cell, rounds: Vec::new() };
        let cells = scene.cells.iter().map(new).collect();
        let (scene, client_threads) = (scene.name, layout.client_threads);
        let (is_separate, writes) = (layout.is_separate(), Writes::Unknown);
        teams.push((pair, Line { scene, shards, client_threads, is_separate, writes, cells }));
    }
    for _ in 0..options.rounds.max(1) {
        // Each round begins with a different server.
        teams.rotate_left(1);
        for (number, cell) in scene.cells.iter().enumerate() {
            let duration = Duration::from_millis(options.time);
            let load = Load { in_flight: cell.in_flight, bytes: cell.bytes, duration };
            for (pair, line) in &mut teams {
                line.cells[number].rounds.push(pair.measure(load)?);
            }
        }
    }
    let mut lines = Vec::new();
    for (mut pair, line) in teams {
        lines.push(Line { writes: pair.writes()?, ..line });
    }
    lines.sort_by_key(|line| line.shards);
    Ok(lines)
}

/// A table for each cell, with a line for each number of shards. Ratios are to the first line.
fn tables(scene: &Scene, lines: &[Line]) -> String {
    let mut text = String::new();
    for (number, cell) in scene.cells.iter().enumerate() {
        let heads = [
            format!("{}, {cell}: shards", scene.name),
            "threads of the clients".to_owned(),
            "deliveries, 1,000/s (ratio)".to_owned(),
            "server CPU per delivery in µs (ratio)".to_owned(),
            "latency p50 / p99, ms".to_owned(),
            "busy: server, clients, %".to_owned(),
            "writes".to_owned(),
        ];
        put_row(&mut text, heads);
        put_rule(&mut text, 6);
        for line in lines {
            put_row(&mut text, cells(line, &line.cells[number], &lines[0].cells[number]));
        }
    }
    if lines.iter().any(|line| !line.is_separate) {
        let _ = writeln!(text, "\n\\* the server and its clients share all cores");
    }
    text
}

fn cells(line: &Line, series: &Series, first: &Series) -> [String; 7] {
    let star = if line.is_separate { "" } else { "\\*" };
    let [p50, p99] = [
        series.median(|measured| measured.p50 as f64 / 1e6),
        series.median(|measured| measured.p99 as f64 / 1e6),
    ];
    let busy = |cpu: fn(&Measured) -> Duration, threads: usize| {
        let part = |measured: &Measured| {
            cpu(measured).as_secs_f64() / (measured.elapsed.as_secs_f64() * threads as f64)
        };
        series.median(part) * 1e2
    };
    let server = busy(|measured| measured.server_cpu, line.shards);
    let clients = busy(|measured| measured.load_cpu, line.client_threads);
    let rate = series.median(Measured::rate) / 1e3;
    let cost = series.median(Measured::cpu_micros);
    [
        format!("{}{star}", line.shards),
        line.client_threads.to_string(),
        format!("{rate:.0} ({:.2})", series.ratio(first, Measured::rate)),
        format!("{cost:.3} ({:.2})", series.ratio(first, Measured::cpu_micros)),
        format!("{p50:.2} / {p99:.2}"),
        format!("{server:.0}, {clients:.0}"),
        line.writes.to_string(),
    ]
}
