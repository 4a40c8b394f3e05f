//! The task that runs one shard.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, Sleep};

use super::alive::AliveGuard;
use super::room_state::EmptiedReporter;
use crate::engine::{Port, RunState, Shard};
use crate::net::WriteHalf;

/// Small writes of a slice, before a shard lets readers and other shards run: about 0.3 ms.
const WRITES_PER_SLICE: usize = 64;

/// How late a tick may be before the timer is set again.
const TIMER_SLACK: Duration = Duration::from_millis(1);

/// Runs a shard until it is stopped.
pub(super) struct Driver {
    pub(super) shard: Shard<WriteHalf>,
    // Fields are dropped in their order: the shard goes before these two.
    pub(super) emptied: EmptiedReporter,
    pub(super) alive: AliveGuard,
    pub(super) port: Arc<Port<WriteHalf>>,
    pub(super) epoch: Instant,
    pub(super) timer: Pin<Box<Sleep>>,
}

impl Driver {
    pub(super) async fn run(mut self) {
        loop {
            let state = self.shard.run(self.epoch.elapsed(), WRITES_PER_SLICE);
            self.emptied.report_emptied();
            self.alive.is_end_expected = self.shard.is_ending();
            if self.shard.take_made_space() {
                self.alive.space.ring();
            }
            match state {
                // Unlike a place in the run queue, it also has the runtime look for what can be read.
                RunState::Busy => yield_now().await,
                RunState::Idle => {
                    let tick = self.shard.next_tick().map(|tick| self.epoch + tick);
                    poll_fn(|cx| self.poll_wait(cx, tick)).await;
                    // Others that are ready have messages, too: what they push now joins.
                    to_the_back().await;
                }
                RunState::Stopped => return,
            }
        }
    }

    /// Ready when the inbox is filled or the tick has come.
    fn poll_wait(&mut self, cx: &mut Context<'_>, tick: Option<Instant>) -> Poll<()> {
        if self.port.inbox().poll_filled(cx).is_ready() {
            return Poll::Ready(());
        }
        // A publisher that gave space back before it could see this shard asleep did not wake it.
        self.alive.space.ring();
        let Some(tick) = tick else { return Poll::Pending };
        // A timer that fires early costs one look around; setting it anew, a lock.
        if self.timer.is_elapsed() || self.timer.deadline() > tick + TIMER_SLACK {
            self.timer.as_mut().reset(tick);
        }
        self.timer.as_mut().poll(cx)
    }
}

/// Lets the tasks run that are ready now.
///
/// Unlike after `yield_now`, another worker can take the task meanwhile: a handler that computes
/// holds up no shard.
async fn to_the_back() {
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
