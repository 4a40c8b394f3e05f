//! The task or thread that runs one shard.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::RuntimeMetrics;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep};

use super::alive::AliveGuard;
use super::clock::HubClock;
use super::room_state::EmptiedReporter;
use super::runtime_end::RuntimeLink;
use crate::engine::{Port, RunState, Shard};
use crate::net::WriteHalf;

/// The writes of one slice, after which a shard lets readers and other shards run: about 0.3 ms if
/// the writes are small.
const WRITES_PER_SLICE: usize = 64;

/// A shard that has more to write waits for older tasks, at most this many times as long as its
/// slice took. So it has a fifth of the time of its worker, even if there are always older tasks.
const OLDER_TASKS_MAX: u32 = 4;

/// If the timer is set to at most this much after the tick, it is not set again.
const TIMER_SLACK: Duration = Duration::from_millis(1);

/// The driver of one shard: runs the shard until it is stopped.
pub(super) struct Driver {
    pub(super) shard: Shard<WriteHalf>,
    // Fields are dropped in order: the shard must be dropped before the next two fields.
    pub(super) emptied: EmptiedReporter,
    pub(super) alive: AliveGuard,
    pub(super) port: Arc<Port<WriteHalf>>,
    pub(super) clock: HubClock,
    pub(super) timer: Pin<Box<Sleep>>,
    /// The runtime of the timer, for a shard that is not a task of the runtime.
    pub(super) runtime: Option<Arc<RuntimeLink>>,
    /// The queue of the runtime, for a shard that is a task of the runtime.
    pub(super) queue: Option<RuntimeMetrics>,
}

impl Driver {
    /// Runs the shard until it is stopped, or until the runtime has ended.
    pub(super) async fn run(mut self) {
        while !self.runtime.as_ref().is_some_and(|runtime| runtime.is_ending()) {
            // Not tokio's clock, which may stand still in tests.
            let begun = std::time::Instant::now();
            let state = self.shard.run(self.clock.now(), WRITES_PER_SLICE);
            self.emptied.report_emptied();
            self.alive.is_end_expected = self.shard.is_ending();
            if self.shard.take_made_space() {
                self.alive.space.ring();
            }
            match state {
                RunState::Busy => {
                    let longest = OLDER_TASKS_MAX * begun.elapsed();
                    yield_to_older_tasks(self.queue.as_ref(), longest).await;
                }
                RunState::Idle => {
                    let tick = self.shard.next_tick().map(|tick| self.clock.instant(tick));
                    poll_fn(|cx| self.poll_wait(cx, tick)).await;
                    // Lets the other ready tasks push their messages first: they are part of
                    // the same turn.
                    yield_to_ready_tasks().await;
                }
                RunState::Stopped => return,
            }
        }
    }

    /// Ready when the inbox is filled, the tick is due, or the runtime has ended.
    fn poll_wait(&mut self, cx: &mut Context<'_>, tick: Option<Instant>) -> Poll<()> {
        if self.port.inbox().poll_filled(cx).is_ready() {
            return Poll::Ready(());
        }
        // A publisher may have given space back before it could see that this shard sleeps. Such a
        // publisher did not wake the shard, so ring for it.
        self.alive.space.ring();
        let Self { runtime, timer, .. } = self;
        let held = runtime.as_ref().map(|runtime| runtime.hold(cx.waker()));
        if let Some(None) = held {
            return Poll::Ready(());
        }
        let Some(tick) = tick else { return Poll::Pending };
        // A timer that fires early costs one slice without work. Setting it again costs a lock.
        if timer.is_elapsed() || timer.deadline() > tick + TIMER_SLACK {
            timer.as_mut().reset(tick);
        }
        timer.as_mut().poll(cx)
    }
}

/// Lets the runtime poll the sockets. Then waits until no task is in the queue of the runtime, but
/// not for longer than `longest`.
///
/// Waking this task alone would not make the runtime poll the sockets. And one `yield_now` is not
/// enough: a worker keeps 256 ready tasks, and puts others into the queue of the runtime. While the
/// shard writes, the answers of its clients make more tasks ready, and the worker prefers these.
/// With one `yield_now`, some of 1,000 busy rooms got nothing while others went on answering.
async fn yield_to_older_tasks(queue: Option<&RuntimeMetrics>, longest: Duration) {
    let begun = std::time::Instant::now();
    yield_now().await;
    let Some(queue) = queue else { return };
    while queue.global_queue_depth() > 0 && begun.elapsed() < longest {
        yield_now().await;
    }
}

/// Lets the tasks run that are ready now.
///
/// Unlike after `yield_now`, another worker can take this task meanwhile. So a handler that
/// computes for long does not hold up a shard that wakes.
async fn yield_to_ready_tasks() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
