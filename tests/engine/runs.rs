//! Runs of the model with fixed seeds.

use std::ops::Range;

use fastrand::Rng;
use roomcast::engine::Address;

use super::dice::Dice;
use super::fake::{Client, PLENTY, Settings};
use super::model;
use super::operation::{Kind, Operation};

impl Dice for Rng {
    fn draw(&mut self, range: Range<usize>) -> usize {
        self.usize(range)
    }
}

/// Names the run and its last operations if the test fails.
struct Trace {
    seed: u64,
    kind: Kind,
    operations: Vec<Operation>,
}

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.operations.len().saturating_sub(40);
            eprintln!("seed {}, {:?}, the last operations:", self.seed, self.kind);
            self.operations[last..].iter().for_each(|operation| eprintln!("  {operation:?}"));
        }
    }
}

fn run(seed: u64, kind: Kind, operations: usize) {
    let mut trace = Trace { seed, kind, operations: Vec::new() };
    let note = |operation: &Operation| trace.operations.push(operation.clone());
    model::run(Rng::with_seed(seed), kind, operations, note);
}

#[test]
fn short_runs_without_failures_count_every_lost_message() {
    (0..3_000).for_each(|seed| run(seed, Kind::Gentle, 80));
}

#[test]
fn short_runs_with_failures_agree_with_the_oracle() {
    (0..4_000).for_each(|seed| run(seed, Kind::Rough, 80));
}

#[test]
fn short_runs_with_compression_send_what_each_client_can_read() {
    (0..3_000).for_each(|seed| run(seed, Kind::Steady, 120));
}

#[test]
fn long_runs_agree_with_the_oracle() {
    for seed in 0..6 {
        run(seed, Kind::Gentle, 3_000);
        run(seed, Kind::Rough, 3_000);
        run(seed, Kind::Steady, 3_000);
    }
}

#[test]
fn a_slice_of_one_write_is_as_good_as_one_of_many() {
    for seed in 0..200 {
        let texts = |writes: usize| {
            let mut rng = Rng::with_seed(seed);
            let mut rig = Settings::default().build();
            let clients = rig.attach_to("r", 6);
            rig.run();
            for n in 0..40 {
                let client = &clients[rng.usize(0..6)];
                match rng.u32(0..6) {
                    0 => client.join("s"),
                    1 => client.leave("s"),
                    2 => rig.publish(Address::Everyone, &n.to_string()),
                    3 => rig.publish(Address::Room("s"), &n.to_string()),
                    _ => rig.publish_except(Address::Room("r"), &[client.id()], &n.to_string()),
                }
                rig.shards[0].run(rig.now, writes);
            }
            rig.run();
            clients.iter().map(Client::texts).collect::<Vec<_>>()
        };
        assert_eq!(texts(1), texts(PLENTY), "seed {seed}");
    }
}
