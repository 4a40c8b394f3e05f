//! The timer for the heads of requests: how long a connection may wait for a head.
//!
//! hyper sets a timer when it begins to wait for a head, and polls the timer when there is nothing
//! to read. This timer has two lengths. A connection that has had a response is idle until the
//! first byte of the next head arrives: the idle timeout holds. From then on, and from the
//! beginning of a new connection, the head timeout holds.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Body;
use hyper::rt::{self, Timer};
use tokio::time::{Sleep, sleep};

use super::shared::ServerShared;
use crate::net::ReadLog;
use crate::runtime::deadline::poll_deadline;

/// The state of a connection between the heads of its requests.
///
/// Only the task of the connection writes and reads the flags. They are atomic because the task may
/// move between threads.
#[derive(Debug, Default)]
pub(super) struct HeadState {
    pub(super) reads: Arc<ReadLog>,
    /// Whether the last request had a body.
    had_body: AtomicBool,
    /// Whether the idle timeout has passed without the first byte of a head.
    is_idle_over: AtomicBool,
}

impl HeadState {
    /// Notes that a whole head has arrived.
    pub(super) fn note<B: Body>(&self, request: &Request<B>) {
        self.had_body.store(!request.body().is_end_stream(), Ordering::Relaxed);
    }

    /// Whether the connection has been idle for too long. Then it must be closed.
    pub(super) fn is_idle_over(&self) -> bool {
        self.is_idle_over.load(Ordering::Relaxed)
    }

    /// Whether no byte of the next head has arrived.
    ///
    /// hyper does not say whether bytes follow a body of a given length. So a client that sends the
    /// beginning of a head together with such a body counts as idle until it sends more.
    fn is_idle(&self) -> bool {
        self.reads.reads() > 0
            && (self.reads.ends_with_empty_line() || self.had_body.load(Ordering::Relaxed))
    }
}

/// hyper's timer for the heads of one connection.
pub(super) struct HeadTimer {
    pub(super) server: Arc<ServerShared>,
    pub(super) heads: Arc<HeadState>,
}

impl Timer for HeadTimer {
    /// Begins the wait for a head. The length that the caller passes is ignored.
    fn sleep(&self, _: Duration) -> Pin<Box<dyn rt::Sleep>> {
        let head_timeout = self.server.limits.head_timeout;
        Box::pin(HeadWait::begin(self.heads.clone(), head_timeout, self.server.idle_timeout()))
    }

    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep(Duration::ZERO)
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

/// The wait for a head. Ready when the client is too slow.
struct HeadWait {
    heads: Arc<HeadState>,
    /// The number of reads before the wait began.
    reads_before: u32,
    head_timeout: Duration,
    is_idle: bool,
    /// The timeout that holds now.
    timeout: Duration,
    deadline: Pin<Box<Sleep>>,
}

impl HeadWait {
    fn begin(heads: Arc<HeadState>, head_timeout: Duration, idle_timeout: Duration) -> Self {
        let is_idle = heads.is_idle();
        let timeout = if is_idle { idle_timeout } else { head_timeout };
        Self {
            reads_before: heads.reads.reads(),
            heads,
            head_timeout,
            is_idle,
            timeout,
            deadline: Box::pin(sleep(timeout)),
        }
    }
}

impl Future for HeadWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.is_idle && this.heads.reads.reads() != this.reads_before {
            this.is_idle = false;
            this.timeout = this.head_timeout;
            this.deadline = Box::pin(sleep(this.timeout));
        }
        ready!(poll_deadline(this.deadline.as_mut(), this.timeout, cx));
        if this.is_idle {
            // No waker is needed: the task that polls this future checks the flag afterwards.
            this.heads.is_idle_over.store(true, Ordering::Relaxed);
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl rt::Sleep for HeadWait {}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    /// Begins the wait after a request that has arrived completely and was answered.
    fn after_a_request() -> (Arc<HeadState>, Pin<Box<HeadWait>>) {
        let heads = Arc::new(HeadState::default());
        heads.reads.note(b"\r\n\r\n");
        (heads.clone(), Box::pin(HeadWait::begin(heads, SECOND, MINUTE)))
    }

    fn is_over(wait: &mut Pin<Box<HeadWait>>) -> bool {
        wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn head_timeout_begins_with_the_first_byte_of_a_head() {
        let (heads, mut wait) = after_a_request();
        advance(MINUTE / 2).await;
        assert!(!is_over(&mut wait));
        heads.reads.note(b"G");
        assert!(!is_over(&mut wait));
        advance(SECOND + Duration::from_millis(2)).await;
        assert!(is_over(&mut wait));
        assert!(!heads.is_idle_over());
    }

    #[tokio::test(start_paused = true)]
    async fn pause_of_the_process_does_not_count_as_idle_time() {
        let (heads, mut wait) = after_a_request();
        assert!(!is_over(&mut wait));
        advance(3 * MINUTE).await;
        assert!(!is_over(&mut wait) && !heads.is_idle_over());
        advance(MINUTE + Duration::from_millis(2)).await;
        assert!(!is_over(&mut wait) && heads.is_idle_over());
    }

    #[tokio::test(start_paused = true)]
    async fn pause_of_the_process_does_not_count_against_a_head() {
        let (heads, mut wait) = after_a_request();
        heads.reads.note(b"G");
        assert!(!is_over(&mut wait));
        advance(MINUTE).await;
        assert!(!is_over(&mut wait));
        heads.reads.note(b"ET /");
        advance(SECOND + Duration::from_millis(2)).await;
        assert!(is_over(&mut wait), "more bytes do not extend the time");
    }
}
