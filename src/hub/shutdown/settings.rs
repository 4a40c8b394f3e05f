//! The settings of a shutdown.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::engine::{Close, CloseCode, Closing};

/// Nobody waits for a shutdown that is spread over more than a day.
pub(in crate::hub) const WINDOW_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How a hub is shut down; for [`Hub::shutdown`](crate::Hub::shutdown).
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use roomcast::Shutdown;
///
/// let seconds = Duration::from_secs;
/// // One of several nodes: 5 s for the balancer to notice, and 20 s for the clients to move.
/// let one_of_several = Shutdown::within(seconds(30))
///     .not_ready_for(seconds(5))
///     .spread_over(seconds(20))
///     .move_elsewhere();
/// // The only node: all at once, and it is back before they are.
/// let the_only_one = Shutdown::within(seconds(5))
///     .spread_over(Duration::ZERO)
///     .restart(seconds(5)..=seconds(15))
///     .reason("new version");
/// # drop((one_of_several, the_only_one));
/// ```
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until `Hub::shutdown`"]
pub struct Shutdown {
    pub(super) deadline: Duration,
    pub(super) not_ready: Duration,
    /// The time over which the closes are spread, where it was set.
    window: Option<Duration>,
    closing: Closing,
}

impl Shutdown {
    /// A shutdown that is over in this time, whatever clients and handlers do. Closes are spread over the
    /// first half of what [`not_ready_for`](Self::not_ready_for) leaves of it, with code 1001.
    pub fn within(deadline: Duration) -> Self {
        let close = Close::new(CloseCode::GOING_AWAY, "hub shut down");
        let closing = Closing { close, retry_after: None, window: Duration::ZERO };
        Self { deadline, not_ready: Duration::ZERO, window: None, closing }
    }

    /// How long the hub goes on as before, and only says that it is no place for new clients
    /// ([`Hub::is_ready`](crate::Hub::is_ready)): the time in which a load balancer notices. Default: zero. Part of the whole
    /// time, and at most that.
    ///
    /// It should be longer than the balancer takes to find out, which is its interval between two health
    /// checks times the number of failures that it waits for, and a second more. Without it, clients are
    /// still sent here when the hub already refuses them.
    pub fn not_ready_for(mut self, time: Duration) -> Self {
        self.not_ready = time;
        self
    }

    /// The time over which the closes are spread, at most what is left of the whole and a day: zero
    /// closes all at once. In which order connections are closed is left to chance.
    ///
    /// A longer window spares the other nodes, which the clients turn to. Until its close, a client is served
    /// here as before. For the only node, take zero: a client that comes back before the process has ended is
    /// refused.
    pub fn spread_over(mut self, window: Duration) -> Self {
        self.window = Some(window);
        self
    }

    /// Closes with 1012, for a server that comes back, and tells each client to wait for a time of its
    /// own out of the range ([`Close::with_retry_after`]).
    ///
    /// For the only node: let the range begin after the time that the process needs to end and to start
    /// again, and close all clients at once ([`spread_over`](Self::spread_over)). Where other nodes have space,
    /// [`move_elsewhere`](Self::move_elsewhere) spares clients the wait.
    pub fn restart(mut self, retry_after: RangeInclusive<Duration>) -> Self {
        self.closing.close.code = CloseCode::RESTART;
        self.closing.retry_after = Some(retry_after);
        self
    }

    /// Closes with 1001, because other nodes serve the clients from now on, and tells each of them to come back at once: after a
    /// time of its own of at most half a second ([`Close::with_retry_after`]).
    ///
    /// For a node among several, behind a balancer that sends no new client here by then.
    /// [`spread_over`](Self::spread_over) decides how many clients a second the other nodes get; the half
    /// second only keeps those apart that are closed together. A client that comes here all the same is
    /// refused with 503, and backs off.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use roomcast::Shutdown;
    ///
    /// let seconds = Duration::from_secs;
    /// let moved = Shutdown::within(seconds(30)).spread_over(seconds(20)).move_elsewhere();
    /// # drop(moved);
    /// ```
    pub fn move_elsewhere(mut self) -> Self {
        self.closing = self.closing.elsewhere();
        self
    }

    /// The reason that clients are told. Default: `hub shut down`.
    pub fn reason(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.closing.close.reason = reason.into();
        self
    }

    /// The whole time.
    #[cfg(feature = "server")]
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(super) fn closing(self) -> Closing {
        let left = self.deadline.saturating_sub(self.not_ready);
        let window = self.window.unwrap_or(left / 2).min(left).min(WINDOW_MAX);
        Closing { window, ..self.closing }
    }
}

/// [`Shutdown::within`].
impl From<Duration> for Shutdown {
    fn from(deadline: Duration) -> Self {
        Self::within(deadline)
    }
}
