//! Limits of time on one client: until when a message must be complete, and how many messages and
//! bytes may come.
//!
//! A client does not answer for the time in which the hub does not listen to it. What it sends lawfully
//! while a handler runs or a shard is congested is read all at once afterwards, and held against nobody.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::decoder::ProtocolError;
use crate::engine::{Limit, Rate, TokenBucket};
use crate::patience::poll_deadline;

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
        }
    }

    /// Notes that nobody reads for now.
    pub(super) fn pause(&mut self) {
        self.paused_at = Some(Instant::now());
    }

    /// Notes that reading goes on.
    pub(super) fn resume(&mut self) {
        self.grace += self.paused_at.take().map_or(Duration::ZERO, |at| at.elapsed());
    }

    /// Notes that all that had come was read.
    pub(super) fn drained(&mut self) {
        self.grace = Duration::ZERO;
    }

    pub(super) fn count_message(&mut self) -> Result<(), ProtocolError> {
        let Some(rate) = &self.rates.messages else { return Ok(()) };
        let is_there = self.messages.take(1, self.epoch.elapsed(), self.grace, rate);
        is_there.then_some(()).ok_or(ProtocolError::Over(Limit::MessageRate))
    }

    pub(super) fn count_bytes(&mut self, bytes: usize) -> Result<(), ProtocolError> {
        let Some(rate) = &self.rates.bytes else { return Ok(()) };
        let is_there = self.bytes.take(bytes as u64, self.epoch.elapsed(), self.grace, rate);
        is_there.then_some(()).ok_or(ProtocolError::Over(Limit::ByteRate))
    }
}
