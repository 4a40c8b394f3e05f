//! The end of a hub: at once, or in good order and in time.

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

/// The most time of a shutdown that is kept for the goodbye to other nodes: many round trips, also where a
/// connection has to be made for it.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(1);

impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// Closes the hub: connections get what was sent to them and then a close frame with 1001, new
    /// ones are refused with 503, and publishes fail with
    /// [`PublishError::Closed`](super::PublishError::Closed).
    ///
    /// Returns at once; [`closed`](Self::closed) waits for the end. A second call does nothing. See
    /// [`shutdown`](Self::shutdown) for an end in good order, and [`close`](Self::close) for the end of
    /// some connections.
    pub fn shutdown_now(&self) {
        if self.inner.lifetime.advance(ShutdownPhase::Closed) {
            self.expect_end();
            self.close_all(Closing::now());
        }
    }

    /// Shuts the hub down, and waits until that is over or its time is up.
    ///
    /// First the hub [is not ready](Self::is_ready) any more, for as long as
    /// [`Shutdown::not_ready_for`] says, and goes on all the same. Then new connections are refused with
    /// 503. Connections get what was sent to them, and then
    /// a close frame, spread over a window of time; until then they go on, and can publish. When all are
    /// gone and their `on_disconnect` has returned, what waits for other nodes is published, and the hub
    /// is closed. Connections that are left at the deadline are cut.
    ///
    /// Last, a hub with a backplane publishes what still waits, and says goodbye; then the other nodes forget this node
    /// at once. One second of the time, or a quarter of it if that is less, is kept for this. When this call returns,
    /// all messages have left, unless the report has [`messages_unsent`](ShutdownReport::messages_unsent). The program
    /// may end.
    ///
    /// A later shutdown, or [`shutdown_now`](Self::shutdown_now), replaces one that is under way. The deadline
    /// of the first one holds all the same: whoever is left then is cut.
    ///
    /// # Cancel safety
    /// When the future is dropped, connections go on being closed, but at the deadline none is cut, and
    /// the hub goes on publishing.
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
        // From now on there are no more.
        let connections = self.inner.lifetime.connections();
        let lost_before = self.stats().dropped_at_end;
        // A hub that is closed has told its clients to go at once.
        if !is_replaced && !self.is_closed() {
            self.close_all(how.closing());
        }
        let in_order = timeout(deadline, async {
            self.all_ended().await;
            self.flush_backplane().await;
        });
        let in_order = in_order.await;
        // A handshake that is just being refused counts for a moment.
        let unfinished = self.inner.lifetime.connections().min(connections);
        let cut = if in_order.is_err() { self.cut_all().await } else { 0 };
        self.inner.lifetime.advance(ShutdownPhase::Closed);
        self.inner.lifetime.ring();
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

    /// The first phase of a shutdown; `true` where another call has begun the next one meanwhile.
    async fn stay_not_ready(&self, how: &Shutdown) -> bool {
        self.inner.lifetime.advance(ShutdownPhase::NotReady);
        if self.is_closing() || how.not_ready.is_zero() {
            return false;
        }
        let time = how.not_ready.min(how.deadline);
        timeout(time, self.when(|| self.is_closing())).await.is_ok()
    }

    /// Whether new clients should come here: for the health checks of load balancers. They should not to a
    /// hub that is closed or being shut down, from the first moment of a shutdown on, nor to one that has
    /// lost a shard ([`Stats::shards_gone`](crate::Stats::shards_gone)), which only a new process mends.
    ///
    /// A backplane that is down is no reason: clients would be no better off at the other nodes.
    pub fn is_ready(&self) -> bool {
        !self.inner.lifetime.has_reached(ShutdownPhase::NotReady)
            && !self.inner.shards.is_any_gone()
    }

    /// Whether the hub is closed, or refuses new connections as it is being shut down.
    pub fn is_closing(&self) -> bool {
        self.inner.lifetime.has_reached(ShutdownPhase::Closing) || self.inner.shards.are_gone()
    }

    /// Whether the hub is closed: publishes fail. It also is when none of its shards is left, as when the
    /// runtime that it was built in has ended ([`Stats::shards_gone`](crate::Stats::shards_gone)).
    pub fn is_closed(&self) -> bool {
        self.inner.lifetime.has_reached(ShutdownPhase::Closed) || self.inner.shards.are_gone()
    }

    /// Waits until the hub is closed and all that it had begun is over: upgrades under way,
    /// connections, and their `on_disconnect`. Awaited in a handler it would wait for itself.
    ///
    /// # Cancel safety
    /// Nothing happens when the future is dropped.
    pub async fn closed(&self) {
        self.when(|| self.is_closed() && self.inner.lifetime.connections() == 0).await;
    }

    /// A connection or a handshake is over.
    pub(super) fn end_session(&self, addr: Option<SocketAddr>) {
        self.inner.lifetime.leave(addr);
    }

    fn close_all(&self, closing: Closing) {
        let closing = Arc::new(closing);
        self.inner.shards.ports().iter().for_each(|port| port.close_all(closing.clone()));
        // Where no session is left to ring, those that wait must hear of it all the same.
        self.inner.lifetime.ring();
    }

    async fn cut_all(&self) -> usize {
        self.ask_shards(|port, reply| port.cut_all(reply)).await.into_iter().sum()
    }

    async fn all_ended(&self) {
        self.when(|| self.inner.lifetime.connections() == 0).await;
    }

    /// Waits for something that is rung for.
    pub(super) async fn when(&self, condition: impl Fn() -> bool) {
        self.inner.lifetime.when(self.inner.shards.shard_gone(), condition).await;
    }

    /// From now on, the end of the backplane's tasks is not an error.
    fn expect_end(&self) {
        self.inner.bridge.iter().for_each(|bridge| bridge.expect_end());
    }

    /// How much of the time of a shutdown is kept for the goodbye.
    fn goodbye_time(&self, deadline: Duration) -> Duration {
        match self.inner.bridge {
            Some(_) => GOODBYE_TIME_MAX.min(deadline / 4),
            None => Duration::ZERO,
        }
    }

    /// Says goodbye to the other nodes, in time.
    async fn leave_backplane(&self, time: Duration) {
        if let Some(bridge) = &self.inner.bridge {
            // Who does not hear it forgets this node a while later.
            let _ = timeout(time, bridge.leave()).await;
        }
    }

    async fn flush_backplane(&self) {
        if let Some(bridge) = &self.inner.bridge {
            bridge.flush().await;
        }
    }
}
