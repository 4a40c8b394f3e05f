//! Hostile clients and faults: what they cost the others, and that nothing of them is left.
//!
//! Each scene runs a server as a process of its own. They are small here; in full size, with
//! thousands of clients and with bounds on latency, they are ignored by default. Run those with
//!
//! ```text
//! cargo test --release --test faults -- --ignored --nocapture --test-threads 1
//! ```
//!
//! on a machine that has little else to do, and with 20,000 open files a process.
#![cfg(target_os = "linux")]

#[path = "faults/attackers.rs"]
mod attackers;
#[path = "faults/attacks.rs"]
mod attacks;
#[path = "faults/blocking.rs"]
mod blocking;
#[path = "faults/crowd.rs"]
mod crowd;
#[path = "faults/departures.rs"]
mod departures;
#[path = "faults/exhaustion.rs"]
mod exhaustion;
#[path = "faults/far.rs"]
mod far;
#[path = "faults/farewells.rs"]
mod farewells;
mod flood;
#[path = "faults/floods.rs"]
mod floods;
mod network;
#[path = "faults/obedient.rs"]
mod obedient;
#[path = "faults/oracle.rs"]
mod oracle;
#[path = "faults/panics.rs"]
mod panics;
#[path = "faults/party.rs"]
mod party;
#[path = "faults/patient.rs"]
mod patient;
#[path = "faults/pauses.rs"]
mod pauses;
mod programs;
#[path = "faults/server.rs"]
mod server;
#[path = "faults/stalls.rs"]
mod stalls;
#[path = "faults/wire.rs"]
mod wire;

/// Not a test, but the process of attackers that others start.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by other tests"]
async fn party() {
    party::take_part().await;
}

/// Not a test, but a server that others start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by other tests"]
async fn obedient() {
    obedient::serve().await;
}

/// Not a test, but a server that floods a room of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by other tests"]
async fn flooded() {
    floods::serve().await;
}

/// Not a test, but a server with short deadlines that others start.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
#[ignore = "started by other tests"]
async fn patient() {
    patient::serve().await;
}

fn raise_descriptor_limit() {
    rlimit::increase_nofile_limit(u64::MAX).expect("a limit may be raised up to its maximum");
}
