//! Loom models of the lock-free parts: many interleavings, with the effects of weak memory.
//!
//! `check` tries a model in every interleaving. `check_within(n, …)` tries a model in every interleaving with at most
//! `n` preemptions: a preemption stops a thread that could run on. Most faults need two or three preemptions. Each
//! model states its `n`, because loom does not find a fault that needs more.
//!
//! ```text
//! bash tests/models/run.sh
//! ```
//!
//! Each model names the memory-ordering edge that it guards. Without this edge, the model fails.
#![cfg(roomcast_loom)]

#[path = "../alarm.rs"]
mod alarm;
mod bell;
mod closing;
#[path = "../../engine/coding.rs"]
#[expect(dead_code, reason = "the models use only a part of this module")]
mod coding;
#[path = "../../engine/dice.rs"]
#[expect(dead_code, reason = "only the models of the engine's tests draw numbers")]
mod dice;
#[path = "../../engine/fake.rs"]
#[expect(dead_code, reason = "the models use only a part of this module")]
mod fake;
mod halves;
mod inbox;
mod interest;
mod lifetime;
mod link;
mod memberships;
mod progress;
mod publish;
mod room_index;
mod writable;

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use roomcast::engine::Shard;

use self::alarm::sleep_until;
use self::fake::{FakeSocket, PLENTY};

/// Tries every interleaving, without a bound.
fn check(model: impl Fn() + Send + Sync + 'static) {
    loom::model::Builder::new().check(model);
}

/// Tries every interleaving with at most `preemptions` preemptions.
fn check_within(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Awaits a future as a task does. Reports a deadlock if no thread wakes the task.
fn wait_for<R>(future: impl Future<Output = R>) -> R {
    let mut future = pin!(future);
    let mut output = None;
    sleep_until(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(ready) => {
            output = Some(ready);
            true
        }
        Poll::Pending => false,
    });
    output.expect("the loop ends when the future is ready")
}

/// A slice of work that is large enough for all pending work.
fn run(shard: &mut Shard<FakeSocket>) {
    shard.run(Duration::ZERO, PLENTY);
}
