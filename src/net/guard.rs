//! Limits of time on one client: until when a message must be complete, and how many messages and
//! bytes may come.
//!
//! A client does not answer for the time in which the hub does not listen to it. What it sends lawfully
//! while a handler runs or a shard is congested is read all at once afterwards, and held against nobody.
//! The little that is read while a handler runs is measured when the handler has returned.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::rate::{Rate, TokenBucket};
use crate::engine::Limit;
use crate::runtime::deadline::poll_deadline;
use crate::ws::ProtocolError;

/// Whoever reads, as the reader sees it.
pub(crate) trait Liveness {
    /// Bytes have been received.
    fn heard(&self);

    /// How much time has passed so far in which the process did not run, for which no client is to blame.
    fn lateness(&self) -> Duration;
}

/// How much a client may send in a time; `None` is as much as it likes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    /// Messages, pings and pongs.
    pub(crate) messages: Option<Rate>,
    /// Bytes, as they come from the socket where it is known: what TLS adds counts, too.
    pub(crate) bytes: Option<Rate>,
}

/// Exists for clients that are metered, and for those that owe the rest of a message.
pub(super) struct Guard {
    deadline: Option<Pin<Box<Sleep>>>,
    meter: Option<Meter>,
}

impl Guard {
    /// A guard, where there is anything to guard from the start.
    pub(super) fn new(rates: Rates) -> Option<Box<Self>> {
        let meter = (rates.messages.is_some() || rates.bytes.is_some()).then(|| Meter::new(rates));
        meter.map(|meter| Box::new(Self { deadline: None, meter: Some(meter) }))
    }

    /// Ready when a message that has begun is overdue. The time begins with the first call.
    pub(super) fn poll_overdue(
        guard: &mut Option<Box<Self>>,
        cx: &mut Context<'_>,
        message_timeout: Duration,
    ) -> Poll<ProtocolError> {
        let guard = guard.get_or_insert_with(|| Box::new(Self { deadline: None, meter: None }));
        let deadline = guard.deadline.get_or_insert_with(|| Box::pin(sleep(message_timeout)));
        ready!(poll_deadline(deadline.as_mut(), message_timeout, cx));
        Poll::Ready(ProtocolError::Over(Limit::MessageTime))
    }

    /// Nothing is owed any more.
    pub(super) fn forget_deadline(guard: &mut Option<Box<Self>>) {
        if let Some(some) = guard {
            some.deadline = None;
            if some.meter.is_none() {
                *guard = None;
            }
        }
    }

    pub(super) fn meter(guard: &mut Option<Box<Self>>) -> Option<&mut Meter> {
        guard.as_mut()?.meter.as_mut()
    }
}

/// Counts what a client sends.
pub(super) struct Meter {
    rates: Rates,
    messages: TokenBucket,
    bytes: TokenBucket,
    epoch: Instant,
    /// Since when nobody has read.
    paused_at: Option<Instant>,
    /// The pauses whose messages may still wait in the socket.
    grace: Duration,
    /// Of the time in which the process did not run, what has been taken into account.
    lateness_seen: Option<Duration>,
    /// Whether what finds no tokens is owed, instead of being refused.
    is_lenient: bool,
    owed: Owed,
}

/// What has found no tokens yet.
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

    /// Notes that nobody reads for now.
    pub(super) fn pause(&mut self) {
        self.paused_at.get_or_insert_with(Instant::now);
    }

    /// Notes that reading goes on. Where it is only some reading during a pause, the pause goes on as
    /// well.
    pub(super) fn resume(&mut self, liveness: &impl Liveness) {
        self.lateness_seen.get_or_insert_with(|| liveness.lateness());
        if !self.is_lenient {
            self.grace += self.paused_at.take().map_or(Duration::ZERO, |at| at.elapsed());
        }
    }

    /// Notes that all that had come was read.
    pub(super) fn drained(&mut self) {
        if !self.is_lenient {
            self.grace = Duration::ZERO;
        }
    }

    /// From now on, what finds no tokens is owed until the pause is over.
    pub(super) fn be_lenient(&mut self) {
        self.is_lenient = true;
    }

    /// Whether something is owed, so that nothing more is to be read.
    pub(super) fn is_owed(&self) -> bool {
        self.owed.messages + self.owed.bytes > 0
    }

    /// The pause is over, and its time helps to pay what is owed.
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

    /// Takes time into account in which the process did not run: what the client sent in that time is
    /// read all at once. `false` if there is no such time since this was last asked.
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
