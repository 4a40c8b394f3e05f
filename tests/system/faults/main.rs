//! Hostile clients and faults: what they cost the others, and that nothing of them is left.
//!
//! Each scene runs a server as a process of its own. They are small here; in full size, with
//! thousands of clients and with bounds on latency, they are ignored by default. Run those with
//!
//! ```text
//! cargo test --release -p system-tests --test faults -- --ignored --nocapture --test-threads 1
//! ```
//!
//! on a machine that has little else to do, and with 20,000 open files a process.
#![cfg(target_os = "linux")]

mod attackers;
mod attacks;
mod blocking;
mod departures;
mod exhaustion;
mod far;
mod farewells;
mod floods;
mod obedient;
mod panics;
mod party;
mod patient;
mod pauses;
mod stalls;

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
