//! The scene "growth": 2, 4, 8 or other numbers of nodes.

use std::fmt::Write;
use std::time::Duration;

use crate::fleet::{Bounds, Fleet, Measured};
use crate::plan::{self, Cell};
use crate::table;
use crate::{Options, Result};
use support::servers::RedisServer;

/// Measures all cells in turn, round by round, and prints the tables.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let redis = RedisServer::start();
    let cells = plan::cells(&options.nodes(), options.short);
    let bounds = Bounds { messages: options.messages, time: options.time() };
    let mut series = vec![Vec::new(); cells.len()];
    let mut failures = String::new();
    for round in 1..=options.rounds() {
        for (number, &cell) in cells.iter().enumerate() {
            let channel = format!("growth-{round}-{number}");
            match measure(&redis, cell, channel, bounds).await {
                Ok(measured) => {
                    println!("round {round}, {cell}: {}", table::line(&measured));
                    match measured.is_whole() {
                        true => series[number].push(measured),
                        false => put_trouble(&mut failures, round, &measured),
                    }
                }
                Err(error) => {
                    writeln!(failures, "- round {round}, {cell}: not measured, {error}")?;
                }
            }
        }
    }
    print!("{}", table::tables(&series, options.rounds()));
    if failures.is_empty() {
        println!("\nNothing was lost, dropped, repeated or overrun in any run.");
        return Ok(());
    }
    println!("\nThese runs are not in the tables:\n\n{failures}");
    Err("some runs failed".into())
}

async fn measure(
    redis: &RedisServer,
    cell: Cell,
    channel: String,
    bounds: Bounds,
) -> Result<Measured> {
    let mut fleet = Fleet::start(cell, redis, channel).await?;
    fleet.measure(bounds).await
}

/// Adds a line for a run that lost, repeated or misrouted messages.
fn put_trouble(failures: &mut String, round: usize, measured: &Measured) {
    let Measured { cell, missing, wrong, trouble, .. } = measured;
    let _ = writeln!(
        failures,
        "- round {round}, {cell}: {missing} deliveries missing, {wrong} wrong; {trouble}"
    );
}

/// The default time that a run publishes.
pub(crate) fn time(is_short: bool) -> Duration {
    Duration::from_millis(if is_short { 200 } else { 1_500 })
}
