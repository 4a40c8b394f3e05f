//! The lock-free parts of the core in every interleaving, and with what weak memory allows.
//!
//! ```text
//! bash tests/models/run.sh
//! ```
//!
//! Each model names the edge that it guards: without it, the model fails.
#![cfg(roomcast_loom)]

#[path = "../alarm.rs"]
mod alarm;
mod closing;
#[path = "../../engine/fake.rs"]
#[expect(dead_code, reason = "models need little of it")]
mod fake;
mod inbox;
mod link;
mod memberships;
mod publish;
mod relief;
mod room_index;
#[path = "../../../src/runtime/shield.rs"]
mod shield;
mod writable;

use std::time::Duration;

/// A path of the library that `src/shards/relief.rs` imports.
mod runtime {
    pub(crate) use super::shield;
}

/// A path of the library that `src/shards/relief.rs` imports.
mod engine {
    pub(crate) mod sync {
        pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering, fence};
    }
}

use roomcast::engine::Shard;

use self::alarm::sleep_until;
use self::fake::{FakeSocket, PLENTY};

/// Tries every interleaving.
fn check(model: impl Fn() + Send + Sync + 'static) {
    loom::model::Builder::new().check(model);
}

/// Tries every interleaving in which threads that could go on are stopped at most `preemptions`
/// times.
fn check_within(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// A slice of work that does all there is to do.
fn run(shard: &mut Shard<FakeSocket>) {
    shard.run(Duration::ZERO, PLENTY);
}
