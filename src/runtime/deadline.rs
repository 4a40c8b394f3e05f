//! Deadlines that do not count the time in which this process did not run.
//!
//! A process may be stopped, with its container or its whole machine, or a handler may block the
//! thread that polls the sockets. Then timers fire late, all at once, and the bytes that have
//! arrived meanwhile are unread. So a deadline that fires late proves nothing: it moves by its
//! lateness, at most by its own length, and the guarded future is polled in that time. If the
//! deadline is late again, it moves again.
//!
//! All layers use this module instead of tokio's deadlines, except for the deadlines of shutdowns,
//! which are hard. The cost is the same.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep};

/// The lateness that is normal for a timer on a busy machine. A tenth of a second is far more than
/// a runtime takes for one round, and far less than any deadline.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Ready when `deadline` has passed and its timer was not late. `duration` is the length of the
/// deadline. The caller must poll the guarded future first, in the same turn.
pub(crate) fn poll_deadline(
    mut deadline: Pin<&mut Sleep>,
    duration: Duration,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        ready!(deadline.as_mut().poll(cx));
        let now = Instant::now();
        let lateness = now.saturating_duration_since(deadline.deadline());
        if lateness <= TOLERANCE {
            return Poll::Ready(());
        }
        deadline.as_mut().reset(now + lateness.min(duration));
    }
}

/// The error of a deadline that has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// Awaits `future` for at most `duration`, and returns its output.
///
/// # Errors
/// [`Elapsed`]: the future took longer than `duration`.
pub(crate) async fn timeout<F: Future>(
    duration: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut deadline = pin!(sleep(duration));
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        // The deadline ignores tokio's budget: a future that uses up the budget must not evade its
        // deadline.
        let deadline = pin!(coop::unconstrained(poll_fn(|cx| {
            poll_deadline(deadline.as_mut(), duration, cx)
        })));
        deadline.poll(cx).map(|()| Err(Elapsed))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{advance, timeout as within};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns how long the timeout of a pending future takes if time jumps by `jump` after it has
    /// begun.
    async fn elapsed_after(jump: Duration) -> Duration {
        let began = Instant::now();
        let waiting = tokio::spawn(timeout(SECOND, pending::<()>()));
        tokio::task::yield_now().await;
        advance(jump).await;
        assert_eq!(waiting.await.expect("no panic"), Err(Elapsed));
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_moves_by_its_lateness_and_no_more_than_its_length() {
        for (jump_ms, elapsed_ms) in [
            (0, 1_000),
            (900, 1_000),
            (1_000, 1_000),
            (1_050, 1_050),
            (1_300, 1_600),
            (1_900, 2_800),
            (60_000, 61_000),
        ] {
            let elapsed = elapsed_after(Duration::from_millis(jump_ms)).await.as_millis();
            // Tokio rounds up to the next millisecond.
            assert!((elapsed_ms..=elapsed_ms + 2).contains(&elapsed), "{jump_ms}: {elapsed}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_that_is_late_again_moves_again() {
        let waiting = tokio::spawn(timeout(SECOND, pending::<()>()));
        tokio::task::yield_now().await;
        for _ in 0..5 {
            advance(5 * SECOND).await;
            assert!(!waiting.is_finished());
        }
        assert_eq!(
            within(2 * SECOND, waiting).await.expect("in time").expect("no panic"),
            Err(Elapsed)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn output_that_was_ready_before_the_deadline_is_returned_however_late() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(timeout(SECOND, receiver));
        tokio::task::yield_now().await;
        sender.send(7).expect("it waits");
        advance(60 * SECOND).await;
        assert_eq!(waiting.await.expect("no panic"), Ok(Ok(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn future_that_is_always_busy_does_not_evade_its_deadline() {
        let busy = async {
            loop {
                coop::consume_budget().await;
                advance(Duration::from_millis(1)).await;
            }
        };
        assert_eq!(timeout(SECOND, busy).await.map(|(): ()| ()), Err(Elapsed));
    }
}
