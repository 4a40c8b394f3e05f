//! The whole core with its shards on threads, in interleavings that are drawn at random.
//!
//! ```text
//! bash tests/models/run.sh
//! ```
//!
//! Loom tries every interleaving, and so its models are small. Shuttle draws random interleavings, so a model can be
//! a whole story. Half of the schedules of a story switch threads at random points. The other half switch threads at
//! few points (PCT: the priorities of the threads are random). `ROOMCAST_SCHEDULES` sets the number of schedules. A
//! failure prints its schedule.
#![cfg(roomcast_shuttle)]

#[path = "../alarm.rs"]
mod alarm;
#[path = "../../engine/coding.rs"]
#[expect(dead_code, reason = "the models use only a part of this module")]
mod coding;
#[path = "../../engine/dice.rs"]
#[expect(dead_code, reason = "only the models of the engine's tests draw numbers")]
mod dice;
#[path = "../../engine/fake.rs"]
#[expect(dead_code, reason = "stories need little of it")]
mod fake;
mod log;
mod stories;
mod world;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, MaxSteps, Runner};

/// Schedules of a story: about a second.
const SCHEDULES: usize = 2_000;

/// The depth of a PCT schedule: the bound of its random priority changes.
const PCT_DEPTH: usize = 3;

/// Steps of one schedule: many more than any story takes.
const STEPS_MAX: usize = 200_000;

/// Runs a story in many schedules.
fn tell(story: fn()) {
    let schedules = std::env::var("ROOMCAST_SCHEDULES")
        .map_or(SCHEDULES, |schedules| schedules.parse().expect("a number of schedules"));
    let mut config = Config::new();
    config.stack_size = 128 * 1024;
    config.silence_warnings = true;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    Runner::new(RandomScheduler::new(schedules.div_ceil(2)), config.clone()).run(story);
    Runner::new(PctScheduler::new(PCT_DEPTH, schedules.div_ceil(2)), config).run(story);
}
