//! The publishing task: what waits in the outbox leaves in envelopes, and heartbeats between them.
//!
//! There is no timer for a batch: it is what gathered while the last one was on its way, so a single
//! message leaves at once. What was not acknowledged stays, numbered as it was, and is published
//! again by the next connection; receivers drop what they have had.

use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::backoff::Backoff;
use super::channels::Channel;
use super::contract::{Backplane, BackplaneError, BackplaneRequest, Parcel, Publisher};
use super::envelope::{
    self, ENVELOPE_BYTES_MAX, Header, Heartbeat, Packer, REPORT_ROOMS_MAX, Report,
};
use super::health::Half;
use super::shared::Shared;
use super::supervise::{Attempt, connect, within};

/// How often a node shows itself on each of its channels.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// The shortest time between two heartbeats, however many nodes come and ask for one.
const HEARTBEAT_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The bytes of envelopes that are published with one round trip: enough that the round trip is
/// hidden by the work, and what is sent twice after a failure stays small.
const PIPELINE_BYTES_MAX: usize = 8 * ENVELOPE_BYTES_MAX;

/// How long a server has to acknowledge what was published, and how much longer for each MiB of it.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(2);
const PUBLISH_DEADLINE_PER_MIB: Duration = Duration::from_secs(1);

/// How long a hub that goes may take to publish what still waits.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// The state of the publishing task.
pub(super) struct Publishing<B> {
    backplane: Arc<B>,
    shared: Arc<Shared>,
    /// The number that the next message gets, by channel.
    sequences: Box<[u64]>,
    /// Envelopes that wait for their acknowledgement.
    unacknowledged: Vec<Parcel>,
    /// While a batch is gathered, the place of each channel's envelope among the open ones.
    open_at: Box<[Option<usize>]>,
    next_beat: Instant,
    last_beat: Option<Instant>,
    /// The channels of the heartbeats among `unacknowledged`.
    beating: Vec<Channel>,
}

impl<B: Backplane> Publishing<B> {
    pub(super) fn new(backplane: Arc<B>, shared: Arc<Shared>) -> Self {
        let sequences = shared.channels.all().map(|_| 0).collect();
        let open_at = shared.channels.all().map(|_| None).collect();
        Self {
            backplane,
            shared,
            sequences,
            unacknowledged: Vec::new(),
            open_at,
            next_beat: Instant::now(),
            last_beat: None,
            beating: Vec::new(),
        }
    }

    /// Publishes until the hub goes, and then what is left.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<()>) {
        let shared = self.shared.clone();
        tokio::select! {
            () = super::supervise::supervise(&mut self, &shared.health, &shared.recovered) => {}
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
            self.gather();
            self.beat_if_due();
            if self.unacknowledged.is_empty() {
                self.wait().await;
                continue;
            }
            let envelopes = self.unacknowledged.len();
            if let Err(error) = self.publish(&mut publisher).await {
                if self.unacknowledged.len() < envelopes {
                    backoff.curb();
                }
                // The next connection has heartbeats of its own.
                self.unacknowledged.retain(|parcel| envelope::count(&parcel.payload) > 0);
                return error;
            }
            backoff.reset();
            self.shared.up(Half::Publisher);
        }
    }

    async fn publish(&mut self, publisher: &mut B::Publisher) -> Result<(), BackplaneError> {
        let parcels = &mut self.unacknowledged;
        let bytes: usize = parcels.iter().map(|parcel| parcel.payload.len()).sum();
        let deadline = PUBLISH_DEADLINE + PUBLISH_DEADLINE_PER_MIB * (bytes >> 20) as u32;
        let began = Instant::now();
        let (envelopes, messages) = (parcels.len(), count(parcels));
        let result = within(deadline, BackplaneRequest::Publish, publisher.publish(parcels)).await;
        let health = &self.shared.health;
        health.counters.published.add(messages - count(parcels));
        health.counters.envelopes.add((envelopes - parcels.len()) as u64);
        health.in_flight.set(count(parcels));
        result?;
        for channel in self.beating.drain(..) {
            self.shared.echoes.beaten(channel, began);
        }
        Ok(())
    }

    /// Moves what waits in the outbox into envelopes, as much as one round trip may carry.
    fn gather(&mut self) {
        let mut bytes: usize = self.unacknowledged.iter().map(|parcel| parcel.payload.len()).sum();
        let mut open: Vec<(Channel, Packer)> = Vec::new();
        while bytes < PIPELINE_BYTES_MAX
            && let Some(outgoing) = self.shared.outbox.pop()
        {
            bytes += outgoing.message.len();
            let at = *self.open_at[outgoing.channel.index()].get_or_insert_with(|| {
                open.push((outgoing.channel, Packer::new()));
                open.len() - 1
            });
            let packer = &mut open[at].1;
            if !packer.fits(outgoing.message.len()) {
                let full = mem::replace(packer, Packer::new());
                packer.push(&outgoing.message);
                self.seal(outgoing.channel, full);
            } else {
                packer.push(&outgoing.message);
            }
        }
        for (channel, packer) in open {
            self.open_at[channel.index()] = None;
            self.seal(channel, packer);
        }
        self.shared.health.in_flight.set(count(&self.unacknowledged));
    }

    fn seal(&mut self, channel: Channel, packer: Packer) {
        let header = self.header(channel);
        self.sequences[channel.index()] += packer.count() as u64;
        self.post(channel, packer.seal(header));
    }

    fn post(&mut self, channel: Channel, payload: bytes::Bytes) {
        let channel = self.shared.channels.name(channel).clone();
        self.unacknowledged.push(Parcel { channel, payload });
    }

    fn header(&self, channel: Channel) -> Header {
        let Shared { node, epoch, .. } = *self.shared;
        Header { node, epoch, first: self.sequences[channel.index()] }
    }

    /// Adds a heartbeat for each channel that others may listen to for this node's messages, or that
    /// it listens to itself.
    fn beat_if_due(&mut self) {
        let now = Instant::now();
        if now < self.next_beat {
            return;
        }
        self.next_beat = now + HEARTBEAT_INTERVAL;
        self.last_beat = Some(now);
        let shared = self.shared.clone();
        // Nodes are forgotten in silence.
        shared.compare_spreads();
        self.beating.clear();
        for channel in shared.channels.all() {
            let is_common = channel == Channel::COMMON;
            if is_common
                || self.sequences[channel.index()] > 0
                || shared.interest.is_subscribed(channel)
            {
                let heartbeat = Heartbeat {
                    wants_answer: is_common && shared.greets.swap(false, Ordering::Acquire),
                    leaving: false,
                    report: if is_common { self.report() } else { None },
                };
                self.post(channel, heartbeat.seal(self.header(channel)));
                self.beating.push(channel);
            }
        }
    }

    /// What this node has; nothing where its hub is just going.
    fn report(&self) -> Option<Report> {
        let members = self.shared.members.upgrade()?;
        let mut rooms = Vec::new();
        members.for_each_room(&mut |name, count| {
            rooms.push((super::channels::room_hash(name), count as u32));
        });
        let (rooms, unlisted_max) = listed(rooms);
        let connections = members.connections();
        Some(Report { connections, spread: self.shared.channels.spread(), unlisted_max, rooms })
    }

    /// Waits for something to publish, or a heartbeat that is due.
    async fn wait(&mut self) {
        tokio::select! {
            () = poll_fn(|cx| self.shared.outbox.poll_filled(cx)) => {}
            () = sleep_until(self.next_beat) => {}
            () = self.shared.beat_soon.notified() => {
                // Others may ask often; this node asks only when it has subscribed anew.
                let pause = match self.shared.greets.load(Ordering::Acquire) {
                    true => Duration::ZERO,
                    false => HEARTBEAT_INTERVAL_MIN,
                };
                let earliest = self.last_beat.map_or(self.next_beat, |last| last + pause);
                self.next_beat = earliest.min(self.next_beat);
            }
        }
    }

    /// Publishes all that waits, and a goodbye.
    async fn flush(&mut self) -> Result<(), BackplaneError> {
        let mut publisher = connect(self.backplane.connect_publisher()).await?;
        loop {
            self.gather();
            if self.unacknowledged.is_empty() {
                break;
            }
            self.publish(&mut publisher).await?;
        }
        let goodbye = Heartbeat { leaving: true, ..Heartbeat::default() };
        self.post(Channel::COMMON, goodbye.seal(self.header(Channel::COMMON)));
        self.publish(&mut publisher).await
    }
}

impl<B: Backplane> Attempt for &mut Publishing<B> {
    const HALF: Half = Half::Publisher;

    async fn attempt(&mut self, backoff: &mut Backoff) -> BackplaneError {
        let backplane = self.backplane.clone();
        match connect(backplane.connect_publisher()).await {
            Ok(publisher) => self.serve(publisher, backoff).await,
            Err(error) => error,
        }
    }
}

/// The messages in these envelopes.
fn count(parcels: &[Parcel]) -> u64 {
    parcels.iter().map(|parcel| u64::from(envelope::count(&parcel.payload))).sum()
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
