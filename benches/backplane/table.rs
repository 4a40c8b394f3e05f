//! The tables of results, in Markdown.

use std::fmt::Write;

use crate::fleet::Measured;
use crate::median;
use crate::plan::{CLIENTS, Cell};

/// A column of the tables: its title, its number of decimals, and the function that computes it.
struct Figure {
    title: &'static str,
    decimals: usize,
    of: fn(&Measured) -> f64,
}

#[rustfmt::skip]
const FIGURES: &[Figure] = &[
    Figure { title: "in, 1,000/s", decimals: 0, of: |run| per_second(run, run.messages) / 1e3 },
    Figure { title: "out, 1,000/s", decimals: 0, of: |run| per_second(run, run.deliveries) / 1e3 },
    Figure { title: "received, % of the other nodes' messages", decimals: 0, of: taken_percent },
    Figure { title: "messages per envelope", decimals: 1,
        of: |run| run.spent.counts.published as f64 / run.spent.counts.envelopes as f64 },
    Figure { title: "Redis in, B/message", decimals: 0,
        of: |run| run.spent.redis_bytes_in as f64 / run.messages as f64 },
    Figure { title: "Redis out, B/message", decimals: 0,
        of: |run| run.spent.redis_bytes_out as f64 / run.messages as f64 },
    Figure { title: "CPU of Redis, µs/message", decimals: 2,
        of: |run| run.spent.redis.as_secs_f64() * 1e6 / run.messages as f64 },
    Figure { title: "CPU of nodes, µs/message", decimals: 2,
        of: |run| run.spent.nodes.as_secs_f64() * 1e6 / run.messages as f64 },
    Figure { title: "CPU of nodes, µs/delivery", decimals: 2,
        of: |run| run.spent.nodes.as_secs_f64() * 1e6 / run.deliveries as f64 },
];

fn per_second(run: &Measured, count: u64) -> f64 {
    count as f64 / run.elapsed.as_secs_f64()
}

/// The percentage of the other nodes' messages that reaches a node.
fn taken_percent(run: &Measured) -> f64 {
    let others = run.cell.nodes as f64 - 1.0;
    1e2 * run.spent.counts.received as f64 / (run.messages as f64 * others)
}

/// One line with all figures of a run.
pub(crate) fn line(run: &Measured) -> String {
    let shown = FIGURES.iter().map(|figure| {
        let Figure { title, decimals, of } = figure;
        format!("{title} {:.decimals$}", of(run))
    });
    shown.collect::<Vec<_>>().join("; ")
}

/// The tables of the medians of all cells, and of their growth with the number of nodes.
pub(crate) fn tables(series: &[Vec<Measured>], rounds: usize) -> String {
    let mut text = format!(
        "\n{}; the nodes, Redis and the clients share the cores. Medians of {rounds} round(s) in turns; \
         128 bytes a message, {CLIENTS} clients a node\n",
        machine()
    );
    let measured: Vec<&Vec<Measured>> = series.iter().filter(|runs| !runs.is_empty()).collect();
    for is_apart in [true, false] {
        let form: Vec<_> =
            measured.iter().copied().filter(|runs| runs[0].cell.is_apart == is_apart).collect();
        let title =
            if is_apart { "each node in its own process" } else { "all nodes in one process" };
        put_medians(&mut text, title, &form);
        put_growth(&mut text, &format!("growth, {title}"), &form);
    }
    text
}

fn put_medians(text: &mut String, title: &str, measured: &[&Vec<Measured>]) {
    put_head(text, title);
    for runs in measured {
        let Cell { setting, nodes, .. } = runs[0].cell;
        let _ = write!(text, "| {} | {} | {nodes} |", setting.rooms, setting.channels);
        for Figure { decimals, of, .. } in FIGURES {
            let _ = write!(text, " {:.decimals$} |", median_of(runs, *of));
        }
        text.push('\n');
    }
}

/// Writes the ratio of each row to the row with fewer nodes.
fn put_growth(text: &mut String, title: &str, measured: &[&Vec<Measured>]) {
    put_head(text, title);
    for pair in measured.windows(2) {
        let (few, many) = (pair[0], pair[1]);
        let Cell { setting, nodes, .. } = many[0].cell;
        if few[0].cell.setting != setting {
            continue;
        }
        let from = few[0].cell.nodes;
        let _ = write!(text, "| {} | {} | {from} to {nodes} |", setting.rooms, setting.channels);
        for Figure { of, .. } in FIGURES {
            let _ = write!(text, " × {:.2} |", median_of(many, *of) / median_of(few, *of));
        }
        text.push('\n');
    }
}

fn put_head(text: &mut String, title: &str) {
    let _ = write!(text, "\n{title}:\n\n| rooms | channels | nodes |");
    for figure in FIGURES {
        let _ = write!(text, " {} |", figure.title);
    }
    let _ = writeln!(text, "\n|{}", "---:|".repeat(3 + FIGURES.len()));
}

fn median_of(runs: &[Measured], of: fn(&Measured) -> f64) -> f64 {
    median(runs.iter().map(of).collect())
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model =
        model.map_or("unknown processor", |model| model.trim_start_matches(['\t', ':', ' ']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}
