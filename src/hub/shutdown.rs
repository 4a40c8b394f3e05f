//! Shutting down a hub: at once, or gracefully within a deadline.

mod report;
mod settings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

pub use self::report::ShutdownReport;
pub use self::settings::Shutdown;
pub(super) use self::settings::WINDOW_MAX;
use super::lifetime::ShutdownPhase;
use super::{Hub, events};
use crate::engine::Closing;

/// The most time of a shutdown that is reserved for the goodbye to other nodes. It is enough for
/// many round trips, also when a new connection is needed.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(1);

impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// Closes the hub at once. Connections get the messages that were sent to them, and then a
    /// close frame with 1001. New connections are refused with 503, and publishes fail with
    /// [`PublishError::Closed`](super::PublishError::Closed).
    ///
    /// Returns at once; [`closed`](Self::closed) waits for the end. A second call does nothing. For
    /// a graceful shutdown, see [`shutdown`](Self::shutdown). To close only some connections, see
    /// [`close`](Self::close).
    pub fn shutdown_now(&self) {
        if self.inner.lifetime.advance(ShutdownPhase::Closed) {
            self.expect_end();
            self.close_all(Closing::now());
        }
    }

    /// Shuts the hub down gracefully. Waits until the shutdown is complete, or its deadline is
    /// over.
    ///
    /// 1. The hub reports that it [is not ready](Self::is_ready), for the time of
    ///    [`Shutdown::not_ready_for`]. It works as before meanwhile.
    /// 2. New connections are refused with 503. Each open connection gets the messages that were
    ///    sent to it, and then a close frame. The closes are spread over a window of time; until
    ///    its close, a connection works as before and can publish.
    /// 3. When all connections have ended and their `on_disconnect` has returned, the messages that
    ///    wait for other nodes are published, and the hub is closed. Connections that have not
    ///    ended at the deadline are cut.
    /// 4. At the end, the node says goodbye, so that the other nodes forget it at once. After a
    ///    deadline that was missed, it first publishes what still waits. One second of the time, or
    ///    a quarter of it if that is less, is reserved for this.
    ///
    /// When this call returns, all messages have left, except the
    /// [`messages_lost`](ShutdownReport::messages_lost) and
    /// [`messages_unsent`](ShutdownReport::messages_unsent) of the report. The program may end.
    ///
    /// A later shutdown that begins to close connections, or [`shutdown_now`](Self::shutdown_now),
    /// replaces a shutdown that is under way. The deadline of the first one still holds:
    /// connections that have not ended by then are cut.
    ///
    /// # Cancel safety
    /// When the future is dropped in step 1, the hub stays open and not ready. Later, the hub goes
    /// on closing connections, but it cuts none at the deadline, and it goes on publishing.
    ///
    /// # Examples
    /// ```
    /// # async fn example(hub: roomcast::Hub<String>) {
    /// use std::time::Duration;
    ///
    /// let report = hub.shutdown(Duration::from_secs(10)).await;
    /// if !report.is_clean() {
    ///     eprintln!("{report}");
    /// }
    /// # }
    /// ```
    pub async fn shutdown(&self, how: impl Into<Shutdown>) -> ShutdownReport {
        let mut how = how.into();
        let began = Instant::now();
        let whole = how.deadline;
        how.deadline -= self.goodbye_time(how.deadline);
        let is_replaced = self.stay_not_ready(&how).await;
        let deadline = how.deadline.saturating_sub(began.elapsed());
        self.inner.lifetime.advance(ShutdownPhase::Closing);
        // From now on, this number does not grow.
        let connections = self.inner.lifetime.connections();
        let lost_before = self.stats().dropped_at_end;
        // A hub that is already closed has closed its connections at once.
        if !is_replaced && !self.is_closed() {
            self.close_all(how.closing());
        }
        let in_order = timeout(deadline, async {
            self.all_ended().await;
            self.flush_backplane().await;
        });
        let in_order = in_order.await;
        // A handshake that is being refused counts for a moment.
        let unfinished = self.inner.lifetime.connections().min(connections);
        let cut = if in_order.is_err() { self.cut_all().await } else { 0 };
        self.inner.lifetime.advance(ShutdownPhase::Closed);
        self.inner.lifetime.notify();
        self.leave_backplane(whole.saturating_sub(began.elapsed())).await;
        let report = ShutdownReport {
            connections,
            unfinished,
            cut,
            messages_lost: self.stats().dropped_at_end - lost_before,
            messages_unsent: self.inner.bridge.as_ref().map_or(0, |bridge| bridge.unsent()),
            took: began.elapsed(),
        };
        events::shut_down(self.name(), &report);
        report
    }

    /// The first phase of a shutdown. Returns `true` if another call has begun the next phase
    /// meanwhile.
    async fn stay_not_ready(&self, how: &Shutdown) -> bool {
        self.inner.lifetime.advance(ShutdownPhase::NotReady);
        if self.is_closing() || how.not_ready.is_zero() {
            return false;
        }
        let time = how.not_ready.min(how.deadline);
        timeout(time, self.when(|| self.is_closing())).await.is_ok()
    }

    /// Whether a load balancer should send new clients to this hub: for health checks.
    ///
    /// `false` from the first moment of a shutdown, and when the hub is closed. Also `false` when
    /// the hub has lost a shard ([`Stats::shards_gone`](crate::Stats::shards_gone)): only a new
    /// process repairs that.
    ///
    /// A backplane that is down makes no difference, because clients would be no better off at the
    /// other nodes.
    pub fn is_ready(&self) -> bool {
        !self.inner.lifetime.has_reached(ShutdownPhase::NotReady)
            && !self.inner.shards.is_any_gone()
    }

    /// Whether the hub refuses new connections, because it is closed or is being shut down.
    pub fn is_closing(&self) -> bool {
        self.inner.lifetime.has_reached(ShutdownPhase::Closing) || self.inner.shards.are_gone()
    }

    /// Whether the hub is closed: publishes fail. A hub is also closed when all its shards have
    /// ended, such as with the runtime in which it was built
    /// ([`Stats::shards_gone`](crate::Stats::shards_gone)).
    pub fn is_closed(&self) -> bool {
        self.inner.lifetime.has_reached(ShutdownPhase::Closed) || self.inner.shards.are_gone()
    }

    /// Waits until the hub is closed and has finished all its work: handshakes, connections, and
    /// their `on_disconnect`. Do not await this in a callback: it would wait for itself.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn closed(&self) {
        self.when(|| self.is_closed() && self.inner.lifetime.connections() == 0).await;
    }

    /// Counts a connection or a handshake as ended.
    pub(super) fn end_session(&self, addr: Option<SocketAddr>) {
        self.inner.lifetime.leave(addr);
    }

    fn close_all(&self, closing: Closing) {
        let closing = Arc::new(closing);
        self.inner.shards.ports().iter().for_each(|port| port.close_all(closing.clone()));
        // If there is no session, no session notifies the waiting calls.
        self.inner.lifetime.notify();
    }

    async fn cut_all(&self) -> usize {
        self.ask_shards(|port, reply| port.cut_all(reply)).await.into_iter().sum()
    }

    async fn all_ended(&self) {
        self.when(|| self.inner.lifetime.connections() == 0).await;
    }

    /// Waits until a condition holds. Checks the condition at each notification that a connection
    /// or a shard has ended.
    pub(super) async fn when(&self, condition: impl Fn() -> bool) {
        self.inner.lifetime.when(self.inner.shards.shard_gone(), condition).await;
    }

    /// Makes the end of the backplane's tasks expected: from now on it is not an error.
    fn expect_end(&self) {
        self.inner.bridge.iter().for_each(|bridge| bridge.expect_end());
    }

    /// The part of a shutdown's time that is reserved for the goodbye.
    fn goodbye_time(&self, deadline: Duration) -> Duration {
        match self.inner.bridge {
            Some(_) => GOODBYE_TIME_MAX.min(deadline / 4),
            None => Duration::ZERO,
        }
    }

    /// Says goodbye to the other nodes, within `time`.
    async fn leave_backplane(&self, time: Duration) {
        if let Some(bridge) = &self.inner.bridge {
            // A node that does not get the goodbye forgets this node later.
            let _ = timeout(time, bridge.leave()).await;
        }
    }

    async fn flush_backplane(&self) {
        if let Some(bridge) = &self.inner.bridge {
            bridge.flush().await;
        }
    }
}
