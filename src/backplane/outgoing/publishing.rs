//! The publishing task: publishes the messages of the outbox in envelopes, and heartbeats between
//! them.
//!
//! No timer collects a batch. A batch is the messages that have gathered while the last batch was
//! on its way, so a single message leaves at once. After a break, messages are [held](hold) until
//! the nodes that were known before are back.
//!
//! # Invariants
//!
//! 1. A message keeps its number. An envelope that is not acknowledged stays in `packing` as it is,
//!    and is published again. So the receivers can drop the messages that they have received
//!    before.
//! 2. `is_publishing` is set while `publisher` is at work. If `is_publishing` is still set after
//!    `publish` was dropped, the publisher is never used again: its connection may be in the middle
//!    of a request.
//! 3. A heartbeat is published once or not at all, because a late one is out of date. If it may not
//!    have arrived, `forget_beat` drops it, and notes the greeting and the answers that it carried
//!    as still owed.
//! 4. After a break, all channels stall before the first message is gathered. They flow again when
//!    the roll call is over.
//! 5. The outbox is flowing only while messages leave: everything that was ready was acknowledged,
//!    no channel is refused, and no hold is under way. Publishers that can wait do so only while
//!    the outbox is flowing, so they never wait for a backplane that is away.
//! 6. `packing` calls `carry` before it takes the first message of a batch, and `settle` after a
//!    publish that leaves none. The waits of flushes rest on this (invariant 3 of
//!    `progress`).

mod hold;
mod report;

use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use self::hold::Hold;
use self::report::report;
use crate::backplane::channels::{Channel, Channels};
use crate::backplane::contract::{
    Backplane, BackplaneError, BackplaneRequest, Publisher, Unpublished,
};
use crate::backplane::envelope::{Heartbeat, Report, RollCallAnswer};
use crate::backplane::health::half::Half;
use crate::backplane::nodes::fleet::Fleet;
use crate::backplane::outgoing::outbox::Outbox;
use crate::backplane::outgoing::packing::{Packing, envelope_count, message_count};
use crate::backplane::reconnecting::backoff::Backoff;
use crate::backplane::reconnecting::halves::ConnectionHalves;
use crate::backplane::reconnecting::supervise::{Attempt, connect, supervise};
use crate::backplane::subscriptions::echoes::Echoes;
use crate::backplane::subscriptions::interest::Interest;
use crate::backplane::this_node::ThisNode;
use crate::runtime::deadline::timeout;

/// The time between two heartbeats on each channel.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// Requests of new nodes cause at most one heartbeat in this time.
const HEARTBEAT_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How long a server may take to acknowledge a publish, and how much longer for each MiB.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(2);
const PUBLISH_DEADLINE_PER_MIB: Duration = Duration::from_secs(1);

/// How long a hub that shuts down may take to publish its last messages.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// The parts of the bridge that the publishing task uses.
pub(crate) struct Deps {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) interest: Arc<Interest>,
    pub(crate) echoes: Arc<Echoes>,
    pub(crate) halves: Arc<ConnectionHalves>,
    pub(crate) fleet: Arc<Fleet>,
    /// Upgrades until the hub is dropped.
    pub(crate) here: Weak<dyn ThisNode>,
    /// How long messages wait for nodes that are missing after a break.
    pub(crate) rejoin_wait: Duration,
}

/// The state of the publishing task.
pub(crate) struct Publishing<B: Backplane> {
    backplane: Arc<B>,
    deps: Deps,
    /// The connection, while there is one.
    publisher: Option<B::Publisher>,
    /// Whether the publisher is at work (invariant 2).
    is_publishing: bool,
    packing: Packing,
    next_beat: Instant,
    last_beat: Option<Instant>,
    /// The channels of the heartbeats that are on their way.
    beating: Vec<Channel>,
    /// Whether one of these heartbeats is a greeting.
    greeting: bool,
    /// The answers to roll calls that are on their way in heartbeats.
    answering: Vec<RollCallAnswer>,
    /// When the refused channels are tried again.
    retry_at: Option<Instant>,
    /// Set while messages wait for nodes that are missing.
    hold: Option<Hold>,
}

impl<B: Backplane> Publishing<B> {
    pub(crate) fn new(backplane: Arc<B>, packing: Packing, deps: Deps) -> Self {
        Self {
            backplane,
            packing,
            deps,
            publisher: None,
            is_publishing: false,
            next_beat: Instant::now(),
            last_beat: None,
            beating: Vec::new(),
            greeting: false,
            answering: Vec::new(),
            retry_at: None,
            hold: None,
        }
    }

    /// Publishes until the hub leaves, and then publishes the remaining messages and a goodbye.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<()>) {
        let (backplane, halves) = (self.backplane.clone(), self.deps.halves.clone());
        // An error means that the hub was dropped, and the sender with it.
        let has_hub_left = tokio::select! {
            () = supervise(&mut self, &*backplane, &halves) => false,
            left = stop.changed() => left.is_ok(),
        };
        self.deps.outbox.set_flowing(false);
        // Messages that are not published by then stay in the count of unsent ones.
        let _ = timeout(FLUSH_DEADLINE, self.flush()).await;
        if has_hub_left {
            halves.health.leave();
        }
    }

    async fn serve(&mut self, backoff: &mut Backoff) -> BackplaneError {
        // A heartbeat leaves first, so that a connection that accepts nothing is noticed at once.
        self.next_beat = Instant::now();
        loop {
            self.retry_if_due();
            self.end_hold_if_over();
            let is_busy = self.packing.gather();
            self.beat_if_due();
            self.call_if_due();
            self.answer_calls();
            if self.packing.ready.is_empty() {
                // All gathered messages may be held for stalled channels.
                if is_busy {
                    yield_now().await
                } else {
                    self.wait().await
                }
                continue;
            }
            match self.publish().await {
                // The outbox stays not flowing (invariant 5).
                Ok(()) if self.packing.has_refused() => {}
                Ok(()) => {
                    backoff.reset();
                    self.deps.halves.up(Half::Publisher);
                    self.deps.outbox.set_flowing(self.hold.is_none());
                }
                Err(Unpublished::Channels(error)) => {
                    self.refuse();
                    backoff.curb();
                    self.retry_at.get_or_insert_with(|| Instant::now() + backoff.wait());
                    self.deps.halves.down(Half::Publisher, error);
                }
                Err(Unpublished::Everything(error)) => {
                    self.expect_nodes();
                    return error;
                }
            }
        }
    }

    async fn publish(&mut self) -> Result<(), Unpublished> {
        let publisher = self.publisher.as_mut().expect("a publisher is connected before a publish");
        let health = &self.deps.halves.health;
        let parcels = &mut self.packing.ready;
        let bytes: usize = parcels.iter().map(|parcel| parcel.payload.len()).sum();
        let deadline = PUBLISH_DEADLINE + PUBLISH_DEADLINE_PER_MIB * (bytes >> 20) as u32;
        let began = Instant::now();
        let (envelopes, messages) = (envelope_count(parcels), message_count(parcels));
        let silent =
            BackplaneError::Silent { request: BackplaneRequest::Publish, waited: deadline };
        // Invariant 2: a future that is dropped in between leaves the mark.
        self.is_publishing = true;
        let Watched { output, has_waited } =
            watched(timeout(deadline, publisher.publish(parcels))).await;
        self.is_publishing = false;
        let result = output.unwrap_or(Err(Unpublished::Everything(silent)));
        health.counters.published.add(messages.saturating_sub(message_count(parcels)));
        health.counters.envelopes.add(envelopes.saturating_sub(envelope_count(parcels)));
        // Invariant 6.
        self.packing.update_in_flight();
        if !has_waited {
            // A driver that is always ready must not keep the worker thread from other tasks.
            yield_now().await;
        }
        result?;
        self.greeting = false;
        self.answering.clear();
        for channel in self.beating.drain(..) {
            self.deps.echoes.heartbeat_acknowledged(channel, began);
        }
        Ok(())
    }

    fn retry_if_due(&mut self) {
        if self.retry_at.is_some_and(|at| Instant::now() >= at) {
            self.retry_at = None;
            self.retry();
        }
    }

    /// If a heartbeat is due, adds one for each channel that this node has published on or is
    /// subscribed to, and for the common channel.
    fn beat_if_due(&mut self) {
        let now = Instant::now();
        if self.deps.fleet.take_heartbeat_request() {
            // Other nodes may ask often. A greeting of this node is rare: it follows a new
            // subscription.
            let pause = if self.deps.fleet.wants_greeting() {
                Duration::ZERO
            } else {
                HEARTBEAT_INTERVAL_MIN
            };
            let earliest = self.last_beat.map_or(self.next_beat, |last| last + pause);
            self.next_beat = earliest.min(self.next_beat);
        }
        if now < self.next_beat {
            return;
        }
        self.next_beat = now + HEARTBEAT_INTERVAL;
        self.last_beat = Some(now);
        // The roster forgets silent nodes without notice, so the comparison is repeated here.
        self.deps.fleet.compare_spreads();
        self.beat();
    }

    /// Drops heartbeats that may not have arrived, and notes the greeting and the answers in them
    /// as still owed (invariant 3).
    fn forget_beat(&mut self) {
        self.beating.clear();
        self.packing.drop_heartbeats();
        self.forget_answers();
        if mem::take(&mut self.greeting) {
            self.deps.fleet.greet_again();
        }
    }

    fn beat(&mut self) {
        for channel in self.deps.channels.all() {
            let is_common = channel == Channel::COMMON;
            let is_used = is_common
                || self.packing.has_used(channel)
                || self.deps.interest.is_subscribed(channel);
            if is_used && !self.packing.is_refused(channel) {
                let wants_answer = is_common && self.deps.fleet.take_greeting();
                self.greeting |= wants_answer;
                let heartbeat = Heartbeat {
                    wants_answer,
                    report: if is_common { self.report() } else { None },
                    ..Heartbeat::default()
                };
                self.packing.post_heartbeat(channel, &heartbeat);
                self.beating.push(channel);
            }
        }
    }

    /// The report of this node; `None` if the hub is gone.
    fn report(&self) -> Option<Report> {
        let here = self.deps.here.upgrade()?;
        Some(report(&*here, self.deps.channels.spread()))
    }

    /// Waits for a message, a request, or the next time at which something is due.
    async fn wait(&mut self) {
        let hold_due = self.hold.as_ref().map(Hold::due);
        let due =
            [self.retry_at, hold_due].into_iter().flatten().fold(self.next_beat, Instant::min);
        tokio::select! {
            () = poll_fn(|cx| self.deps.outbox.poll_filled(cx)) => {}
            () = sleep_until(due) => {}
            () = self.deps.fleet.publishing_woken() => {}
        }
    }

    /// Publishes the remaining messages, the numbers that this node has reached, and a goodbye.
    /// Uses the connection if there is a usable one, or else makes a new one.
    async fn flush(&mut self) -> Result<(), Unpublished> {
        // Invariant 2.
        let is_usable = self.publisher.is_some() && !self.is_publishing;
        if is_usable && self.flush_connected().await.is_ok() {
            return Ok(());
        }
        self.publisher = None;
        let connecting = connect(self.backplane.connect_publisher()).await;
        self.publisher = Some(connecting.map_err(Unpublished::Everything)?);
        self.flush_connected().await
    }

    async fn flush_connected(&mut self) -> Result<(), Unpublished> {
        self.forget_beat();
        self.release();
        loop {
            self.packing.gather();
            if self.packing.ready.is_empty() {
                break;
            }
            self.publish().await?;
        }
        self.beat();
        let goodbye = Heartbeat { leaving: true, ..Heartbeat::default() };
        self.packing.post_heartbeat(Channel::COMMON, &goodbye);
        self.publish().await
    }
}

impl<B: Backplane> Attempt for &mut Publishing<B> {
    const HALF: Half = Half::Publisher;

    async fn attempt(&mut self, backoff: &mut Backoff) -> BackplaneError {
        // The last attempt may have left any of these, for example by a panic.
        self.publisher = None;
        self.forget_beat();
        self.retry_at = None;
        let connecting = connect(self.backplane.connect_publisher()).await;
        match connecting {
            Ok(publisher) => {
                self.publisher = Some(publisher);
                // Invariant 4: before anything is gathered.
                self.begin_hold();
                let error = self.serve(backoff).await;
                self.publisher = None;
                // Invariant 5.
                self.deps.outbox.set_flowing(false);
                error
            }
            Err(error) => error,
        }
    }
}

/// The output of a future that was awaited.
struct Watched<R> {
    output: R,
    /// Whether the future was ever pending.
    has_waited: bool,
}

/// Awaits a future, and notes whether it was ever pending.
async fn watched<F: Future>(future: F) -> Watched<F::Output> {
    let mut future = pin!(future);
    let mut has_waited = false;
    let output = poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        has_waited |= polled.is_pending();
        polled
    });
    let output = output.await;
    Watched { output, has_waited }
}
