//! The publishing task: what waits in the outbox leaves in envelopes, and heartbeats between them.
//!
//! There is no timer for a batch: it is what gathered while the last one was on its way, so a single
//! message leaves at once. What was not acknowledged stays, numbered as it was, and is published
//! again; receivers drop what they have had.

use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::backoff::Backoff;
use super::channels::{Channel, room_hash};
use super::contract::{Backplane, BackplaneError, BackplaneRequest, Publisher, Unpublished};
use super::envelope::{Heartbeat, REPORT_ROOMS_MAX, Report};
use super::half::Half;
use super::packing::{Packing, count};
use super::shared::Shared;
use super::supervise::{Attempt, connect, supervise};
use crate::patience::timeout;

/// How often a node shows itself on each of its channels.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// The shortest time between two heartbeats, however many nodes come and ask for one.
const HEARTBEAT_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How long a server has to acknowledge what was published, and how much longer for each MiB of it.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(2);
const PUBLISH_DEADLINE_PER_MIB: Duration = Duration::from_secs(1);

/// How long a hub that goes may take to publish what still waits.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// The state of the publishing task.
pub(super) struct Publishing<B> {
    backplane: Arc<B>,
    shared: Arc<Shared>,
    packing: Packing,
    next_beat: Instant,
    last_beat: Option<Instant>,
    /// The channels of the heartbeats that are on their way.
    beating: Vec<Channel>,
    /// Whether one of them is the greeting that this node owes.
    greeting: bool,
    /// When stalled channels are tried again.
    retry_at: Option<Instant>,
}

impl<B: Backplane> Publishing<B> {
    pub(super) fn new(backplane: Arc<B>, shared: Arc<Shared>) -> Self {
        Self {
            backplane,
            packing: Packing::new(shared.clone()),
            shared,
            next_beat: Instant::now(),
            last_beat: None,
            beating: Vec::new(),
            greeting: false,
            retry_at: None,
        }
    }

    /// Publishes until the hub goes, and then what is left.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<()>) {
        let shared = self.shared.clone();
        tokio::select! {
            () = supervise(&mut self, &shared) => {}
            // An error is the sign: the sender is gone, and with it the hub.
            _ = stop.changed() => {}
        }
        // Where it fails, nobody is left who could be told.
        let _ = timeout(FLUSH_DEADLINE, self.flush()).await;
    }

    async fn serve(
        &mut self,
        mut publisher: B::Publisher,
        backoff: &mut Backoff,
    ) -> BackplaneError {
        // The first thing to leave, so that a connection that takes nothing is known at once.
        self.next_beat = Instant::now();
        loop {
            self.retry_if_due();
            let is_busy = self.packing.gather();
            self.beat_if_due();
            if self.packing.ready.is_empty() {
                // What was gathered may all be held for channels that are stalled.
                if is_busy {
                    yield_now().await
                } else {
                    self.wait().await
                }
                continue;
            }
            match self.publish(&mut publisher).await {
                Ok(()) if self.packing.has_stalled() => {}
                Ok(()) => {
                    backoff.reset();
                    self.shared.up(Half::Publisher);
                }
                Err(Unpublished::Channels(error)) => {
                    self.forget_beat();
                    self.packing.stall();
                    backoff.curb();
                    self.retry_at.get_or_insert_with(|| Instant::now() + backoff.wait());
                    self.shared.health.down(Half::Publisher, error);
                }
                Err(Unpublished::Everything(error)) => return error,
            }
        }
    }

    async fn publish(&mut self, publisher: &mut B::Publisher) -> Result<(), Unpublished> {
        let health = &self.shared.health;
        let parcels = &mut self.packing.ready;
        let bytes: usize = parcels.iter().map(|parcel| parcel.payload.len()).sum();
        let deadline = PUBLISH_DEADLINE + PUBLISH_DEADLINE_PER_MIB * (bytes >> 20) as u32;
        let began = Instant::now();
        let (envelopes, messages) = (parcels.len(), count(parcels));
        let silent =
            BackplaneError::Silent { request: BackplaneRequest::Publish, waited: deadline };
        let (result, has_waited) = watched(timeout(deadline, publisher.publish(parcels))).await;
        let result = result.unwrap_or(Err(Unpublished::Everything(silent)));
        health.counters.published.add(messages.saturating_sub(count(parcels)));
        health.counters.envelopes.add(envelopes.saturating_sub(parcels.len()) as u64);
        self.packing.tell();
        if !has_waited {
            // A driver that is always ready must not hold the worker thread.
            yield_now().await;
        }
        result?;
        self.greeting = false;
        for channel in self.beating.drain(..) {
            self.shared.echoes.beaten(channel, began);
        }
        Ok(())
    }

    fn retry_if_due(&mut self) {
        if self.retry_at.is_some_and(|at| Instant::now() >= at) {
            self.retry_at = None;
            self.packing.resume();
        }
    }

    /// Adds a heartbeat for each channel that others may listen to for this node's messages, or that
    /// it listens to itself.
    fn beat_if_due(&mut self) {
        let now = Instant::now();
        if self.shared.is_asked_to_beat.swap(false, Ordering::Acquire) {
            // Others may ask often; this node asks only when it has subscribed anew.
            let pause = match self.shared.greets.load(Ordering::Acquire) {
                true => Duration::ZERO,
                false => HEARTBEAT_INTERVAL_MIN,
            };
            let earliest = self.last_beat.map_or(self.next_beat, |last| last + pause);
            self.next_beat = earliest.min(self.next_beat);
        }
        if now < self.next_beat {
            return;
        }
        self.next_beat = now + HEARTBEAT_INTERVAL;
        self.last_beat = Some(now);
        // Nodes are forgotten in silence.
        self.shared.compare_spreads();
        self.beat();
    }

    /// Forgets heartbeats that may not have arrived, but not what they owed.
    fn forget_beat(&mut self) {
        self.beating.clear();
        self.packing.drop_heartbeats();
        if mem::take(&mut self.greeting) {
            self.shared.greets.store(true, Ordering::Release);
        }
    }

    fn beat(&mut self) {
        let shared = self.shared.clone();
        for channel in shared.channels.all() {
            let is_common = channel == Channel::COMMON;
            let is_used = is_common
                || self.packing.has_used(channel)
                || shared.interest.is_subscribed(channel);
            if is_used && !self.packing.is_stalled(channel) {
                let wants_answer = is_common && shared.greets.swap(false, Ordering::Acquire);
                self.greeting |= wants_answer;
                let heartbeat = Heartbeat {
                    wants_answer,
                    leaving: false,
                    report: if is_common { self.report() } else { None },
                };
                let header = self.packing.header(channel);
                self.packing.post(channel, heartbeat.seal(header));
                self.beating.push(channel);
            }
        }
    }

    /// What this node has; nothing where its hub is just going.
    fn report(&self) -> Option<Report> {
        let members = self.shared.members.upgrade()?;
        let mut rooms = Vec::new();
        members.for_each_room(&mut |name, count| {
            rooms.push((room_hash(name), count as u32));
        });
        let (rooms, unlisted_max) = listed(rooms);
        let connections = members.connections();
        Some(Report { connections, spread: self.shared.channels.spread(), unlisted_max, rooms })
    }

    /// Waits for something to publish, or something that is due.
    async fn wait(&mut self) {
        let due = self.retry_at.map_or(self.next_beat, |retry_at| retry_at.min(self.next_beat));
        tokio::select! {
            () = poll_fn(|cx| self.shared.outbox.poll_filled(cx)) => {}
            () = sleep_until(due) => {}
            () = self.shared.beat_soon.notified() => {}
        }
    }

    /// Publishes all that waits, the numbers that it has reached, and a goodbye.
    async fn flush(&mut self) -> Result<(), Unpublished> {
        let connecting = connect(self.backplane.connect_publisher()).await;
        let mut publisher = connecting.map_err(Unpublished::Everything)?;
        self.forget_beat();
        self.packing.resume();
        loop {
            self.packing.gather();
            if self.packing.ready.is_empty() {
                break;
            }
            self.publish(&mut publisher).await?;
        }
        self.beat();
        let goodbye = Heartbeat { leaving: true, ..Heartbeat::default() };
        let header = self.packing.header(Channel::COMMON);
        self.packing.post(Channel::COMMON, goodbye.seal(header));
        self.publish(&mut publisher).await
    }
}

impl<B: Backplane> Attempt for &mut Publishing<B> {
    const HALF: Half = Half::Publisher;

    async fn attempt(&mut self, backoff: &mut Backoff) -> BackplaneError {
        // Whatever the last attempt has left, also where it has panicked.
        self.forget_beat();
        self.packing.resume();
        self.retry_at = None;
        let backplane = self.backplane.clone();
        match connect(backplane.connect_publisher()).await {
            Ok(publisher) => self.serve(publisher, backoff).await,
            Err(error) => error,
        }
    }
}

/// The output of a future, and whether it had to wait for it.
async fn watched<F: Future>(future: F) -> (F::Output, bool) {
    let mut future = pin!(future);
    let mut has_waited = false;
    let output = poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        has_waited |= polled.is_pending();
        polled
    });
    (output.await, has_waited)
}

/// The rooms that a report has room for, those with the most members, sorted by hash; and the most
/// members of one that it has no room for. A room of several shards comes as often as it has shards.
fn listed(mut rooms: Vec<(u64, u32)>) -> (Box<[(u64, u32)]>, u32) {
    rooms.sort_unstable();
    rooms.dedup_by(|later, first| {
        let is_same = later.0 == first.0;
        if is_same {
            first.1 = first.1.saturating_add(later.1);
        }
        is_same
    });
    let mut unlisted_max = 0;
    if rooms.len() > REPORT_ROOMS_MAX {
        rooms.select_nth_unstable_by_key(REPORT_ROOMS_MAX, |&(_, members)| {
            std::cmp::Reverse(members)
        });
        unlisted_max = rooms[REPORT_ROOMS_MAX].1;
        rooms.truncate(REPORT_ROOMS_MAX);
        rooms.sort_unstable();
    }
    (rooms.into(), unlisted_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_sums_the_shards_of_a_room() {
        let (rooms, unlisted_max) = listed(vec![(7, 1), (3, 2), (7, 40)]);
        assert_eq!((&*rooms, unlisted_max), (&[(3, 2), (7, 41)][..], 0));
    }

    #[test]
    fn a_report_that_is_full_lists_the_largest_rooms() {
        let rooms = (0..REPORT_ROOMS_MAX as u64 + 10).map(|hash| (hash, hash as u32 + 1)).collect();
        let (rooms, unlisted_max) = listed(rooms);
        assert_eq!(rooms.len(), REPORT_ROOMS_MAX);
        assert_eq!((rooms[0], unlisted_max), ((10, 11), 10));
    }
}
