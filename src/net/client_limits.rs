//! The limits on what one client sends: the time in which a message must be complete, and the rates
//! of messages and bytes.
//!
//! Time in which the hub pauses reading does not count against the client. Of a pause of the whole
//! process, at most 100 ms count against the rates; `runtime::deadline` describes the effect on the
//! time of a message. The client may send within its rates while a handler runs or a shard is
//! congested; those bytes are read all at once afterwards. Messages that are read while a handler
//! runs are checked against the rates when the handler has returned.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::rate::{Rate, TokenBucket};
use crate::engine::Limit;
use crate::runtime::deadline::poll_deadline;
use crate::ws::ProtocolError;

/// The liveness of a connection: its reader reports bytes, and asks for time in which the process
/// did not run.
pub(crate) trait Liveness {
    /// Notes that bytes have arrived, so that the keep-alive sees a live client.
    fn heard(&self);

    /// Returns the total time by which the shard of the connection has run late: of each delay, the
    /// part above 100 ms (`LATENESS_MIN`). The process did not run in that time, so no client is to
    /// blame for it.
    fn lateness(&self) -> Duration;
}

/// The rates at which a client may send. `None` is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    /// Messages, pings and pongs.
    pub(crate) messages: Option<Rate>,
    /// Bytes as they come from the socket, if the socket is known: the bytes that TLS adds count
    /// too.
    pub(crate) bytes: Option<Rate>,
}

/// The limits of one client. Exists only for a client that has rates, or whose message is
/// incomplete.
pub(super) struct ClientLimits {
    deadline: Option<Pin<Box<Sleep>>>,
    meter: Option<Meter>,
}

impl ClientLimits {
    /// Makes the limits of a client, if the client has rates.
    pub(super) fn new(rates: Rates) -> Option<Box<Self>> {
        let meter = (rates.messages.is_some() || rates.bytes.is_some()).then(|| Meter::new(rates));
        meter.map(|meter| Box::new(Self { deadline: None, meter: Some(meter) }))
    }

    /// Ready when the message that has begun takes longer than `message_timeout`. The time begins
    /// with the first call.
    pub(super) fn poll_overdue(
        limits: &mut Option<Box<Self>>,
        cx: &mut Context<'_>,
        message_timeout: Duration,
    ) -> Poll<ProtocolError> {
        let limits = limits.get_or_insert_with(|| Box::new(Self { deadline: None, meter: None }));
        let deadline = limits.deadline.get_or_insert_with(|| Box::pin(sleep(message_timeout)));
        ready!(poll_deadline(deadline.as_mut(), message_timeout, cx));
        Poll::Ready(ProtocolError::Over(Limit::MessageTime))
    }

    /// Drops the deadline: no message is incomplete.
    pub(super) fn forget_deadline(limits: &mut Option<Box<Self>>) {
        if let Some(some) = limits {
            some.deadline = None;
            if some.meter.is_none() {
                *limits = None;
            }
        }
    }

    pub(super) fn meter(limits: &mut Option<Box<Self>>) -> Option<&mut Meter> {
        limits.as_mut()?.meter.as_mut()
    }
}

/// Counts the messages and bytes of a client against its rates.
pub(super) struct Meter {
    rates: Rates,
    messages: TokenBucket,
    bytes: TokenBucket,
    epoch: Instant,
    /// When reading stopped, while nobody reads.
    paused_at: Option<Instant>,
    /// The total pause time for which bytes may still wait in the socket.
    grace: Duration,
    /// The part of [`Liveness::lateness`] that has been taken into account.
    lateness_seen: Option<Duration>,
    /// Whether messages and bytes that find no tokens are owed, instead of refused.
    is_lenient: bool,
    owed: Owed,
}

/// Messages and bytes that have found no tokens yet.
#[derive(Default)]
struct Owed {
    messages: u64,
    bytes: u64,
}

impl Meter {
    fn new(rates: Rates) -> Self {
        let now = Instant::now();
        Self {
            rates,
            messages: TokenBucket::default(),
            bytes: TokenBucket::default(),
            epoch: now,
            paused_at: Some(now),
            grace: Duration::ZERO,
            lateness_seen: None,
            is_lenient: false,
            owed: Owed::default(),
        }
    }

    /// Notes that reading stops.
    pub(super) fn pause(&mut self) {
        self.paused_at.get_or_insert_with(Instant::now);
    }

    /// Notes that reading goes on. A pause ends, unless the meter is lenient: then the reading is
    /// only a short one during the pause.
    pub(super) fn resume(&mut self, liveness: &impl Liveness) {
        self.lateness_seen.get_or_insert_with(|| liveness.lateness());
        if !self.is_lenient {
            self.grace += self.paused_at.take().map_or(Duration::ZERO, |at| at.elapsed());
        }
    }

    /// Notes that all bytes that had arrived were read.
    pub(super) fn drained(&mut self) {
        if !self.is_lenient {
            self.grace = Duration::ZERO;
        }
    }

    /// From now on, messages and bytes that find no tokens are owed until the pause is over.
    pub(super) fn be_lenient(&mut self) {
        self.is_lenient = true;
    }

    /// Whether something is owed. Then no more must be read.
    pub(super) fn is_owed(&self) -> bool {
        self.owed.messages + self.owed.bytes > 0
    }

    /// Ends the pause. The tokens of its time pay for what is owed.
    pub(super) fn be_strict(&mut self, liveness: &impl Liveness) -> Result<(), ProtocolError> {
        self.is_lenient = false;
        self.resume(liveness);
        let Owed { messages, bytes } = mem::take(&mut self.owed);
        self.take_messages(messages, liveness)?;
        self.take_bytes(bytes, liveness)
    }

    pub(super) fn count_message(&mut self, liveness: &impl Liveness) -> Result<(), ProtocolError> {
        let taken = self.take_messages(1, liveness);
        if self.is_lenient && taken.is_err() {
            self.owed.messages += 1;
            return Ok(());
        }
        taken
    }

    pub(super) fn count_bytes(
        &mut self,
        bytes: usize,
        liveness: &impl Liveness,
    ) -> Result<(), ProtocolError> {
        let taken = self.take_bytes(bytes as u64, liveness);
        if self.is_lenient && taken.is_err() {
            self.owed.bytes += bytes as u64;
            return Ok(());
        }
        taken
    }

    fn take_messages(
        &mut self,
        messages: u64,
        liveness: &impl Liveness,
    ) -> Result<(), ProtocolError> {
        let Some(rate) = self.rates.messages else { return Ok(()) };
        let take = |meter: &mut Self| {
            meter.messages.take(messages, meter.epoch.elapsed(), meter.grace, &rate)
        };
        let is_there = take(self) || self.forgives_lateness(liveness) && take(self);
        is_there.then_some(()).ok_or(ProtocolError::Over(Limit::MessageRate))
    }

    fn take_bytes(&mut self, bytes: u64, liveness: &impl Liveness) -> Result<(), ProtocolError> {
        let Some(rate) = self.rates.bytes else { return Ok(()) };
        let take =
            |meter: &mut Self| meter.bytes.take(bytes, meter.epoch.elapsed(), meter.grace, &rate);
        let is_there = take(self) || self.forgives_lateness(liveness) && take(self);
        is_there.then_some(()).ok_or(ProtocolError::Over(Limit::ByteRate))
    }

    /// Takes the time into account in which the process did not run: the bytes that the client sent
    /// in that time are read all at once. Returns `false` if there was no such time since the last
    /// call.
    fn forgives_lateness(&mut self, liveness: &impl Liveness) -> bool {
        let lateness = liveness.lateness();
        let seen = self.lateness_seen.unwrap_or(lateness);
        let late = lateness.saturating_sub(seen);
        self.lateness_seen = Some(seen + late);
        self.grace += late;
        self.messages.credit(late);
        self.bytes.credit(late);
        !late.is_zero()
    }
}
