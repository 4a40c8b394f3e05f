//! The settings of a shutdown.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::engine::{Close, CloseCode, Closing};

/// The longest window over which closes are spread: a day.
pub(in crate::hub) const WINDOW_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of a graceful shutdown, for [`Hub::shutdown`](crate::Hub::shutdown).
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
/// // The only node: close all clients at once, and be back before they reconnect.
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
    /// The time over which the closes are spread, if it was set.
    window: Option<Duration>,
    closing: Closing,
}

impl Shutdown {
    /// A shutdown that ends within `deadline`, whatever clients and handlers do.
    ///
    /// By default, connections are closed with code 1001. The closes are spread over the first half
    /// of the time that remains after [`not_ready_for`](Self::not_ready_for).
    pub fn within(deadline: Duration) -> Self {
        let close = Close::new(CloseCode::GOING_AWAY, "hub shut down");
        let closing = Closing { close, retry_after: None, window: Duration::ZERO };
        Self { deadline, not_ready: Duration::ZERO, window: None, closing }
    }

    /// How long the hub works as before, but reports that it is not ready for new clients
    /// ([`Hub::is_ready`](crate::Hub::is_ready)), so that a load balancer notices. Default: zero.
    /// The time is part of the deadline, and at most the whole of it.
    ///
    /// Set it a second longer than the balancer needs to notice: its interval between two health
    /// checks times the number of failures that it waits for. If the time is too short, the
    /// balancer still sends clients here when the hub already refuses them.
    pub fn not_ready_for(mut self, time: Duration) -> Self {
        self.not_ready = time;
        self
    }

    /// The time over which the closes are spread. Zero closes all connections at once. At most a
    /// day, and at most the time that remains after [`not_ready_for`](Self::not_ready_for). The
    /// order of the closes is random. Default: half of the remaining time.
    ///
    /// A longer window puts less load on the other nodes, to which the clients reconnect. Until its
    /// close, a client is served here as before. For the only node, use zero: a client that
    /// reconnects before the process has ended is refused.
    pub fn spread_over(mut self, window: Duration) -> Self {
        self.window = Some(window);
        self
    }

    /// Closes with code 1012 (service restart), and asks each client to wait for a random time from
    /// the range before it reconnects ([`Close::with_retry_after`]).
    ///
    /// For the only node: let the range begin after the time that the process needs to end and to
    /// start again, and close all clients at once ([`spread_over`](Self::spread_over)). If other
    /// nodes have capacity, use [`move_elsewhere`](Self::move_elsewhere): then clients need not
    /// wait.
    pub fn restart(mut self, retry_after: RangeInclusive<Duration>) -> Self {
        self.closing.close.code = CloseCode::RESTART;
        self.closing.retry_after = Some(retry_after);
        self
    }

    /// Closes with code 1001 (going away), and asks each client to reconnect almost at once, to
    /// another node: after a random time of at most half a second ([`Close::with_retry_after`]).
    ///
    /// For one of several nodes, behind a balancer that by then sends no new clients here.
    /// [`spread_over`](Self::spread_over) decides how many clients per second the other nodes get.
    /// The half second only separates clients that are closed together. A client that still
    /// connects to this node is refused with 503, and backs off.
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

    /// The reason in the close frames. Default: `hub shut down`.
    pub fn reason(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.closing.close.reason = reason.into();
        self
    }

    /// The deadline of the whole shutdown.
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

/// Same as [`Shutdown::within`].
impl From<Duration> for Shutdown {
    fn from(deadline: Duration) -> Self {
        Self::within(deadline)
    }
}
