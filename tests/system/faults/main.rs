//! Hostile clients and faults: their cost for other clients, and that the server frees all of their resources.
//!
//! Each scene runs a server in a process of its own. By default the scenes are small. The scenes in full
//! size, with thousands of clients and with bounds on latency, are ignored by default. Run them with
//!
//! ```text
//! cargo test --release -p system-tests --test faults -- --ignored --nocapture --test-threads 1
//! ```
//!
//! on an idle machine, with a limit of at least 20,000 open files a process.
#![cfg(target_os = "linux")]

mod attackers;
mod attacks;
mod blocking;
mod departures;
mod exhaustion;
mod far;
mod farewells;
mod floods;
mod forbidden;
mod obedient;
mod panics;
mod party;
mod patient;
mod pauses;
mod stalls;

/// Not a test, but the process of attackers that other tests start.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by other tests"]
async fn party() {
    party::take_part().await;
}

/// Not a test, but a server that other tests start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by other tests"]
async fn obedient() {
    obedient::serve().await;
}

/// Not a test, but a server that floods a room; other tests start it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by other tests"]
async fn flooded() {
    floods::serve().await;
}

/// Not a test, but a server with short deadlines that other tests start.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
#[ignore = "started by other tests"]
async fn patient() {
    patient::serve().await;
}

fn raise_descriptor_limit() {
    rlimit::increase_nofile_limit(u64::MAX).expect("a limit may be raised up to its maximum");
}
