//! The proof that subscriptions live: what this node publishes comes back to it.
//!
//! A probe is answered by the connection that messages come by, behind all that was sent to it
//! before. So when a heartbeat was acknowledged, and a probe that was sent after that has been
//! answered, and the heartbeat has not come: then its channel is not subscribed to any more, whatever
//! this node believes.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::backplane::channels::{Channel, Channels};

/// When heartbeats left, and when something of ours came back.
#[derive(Debug)]
pub(crate) struct Echoes {
    began: Instant,
    stamps: Box<[Stamps]>,
    /// When anything at all arrived.
    arrived: Stamp,
}

#[derive(Debug, Default)]
struct Stamps {
    /// The latest heartbeat that was acknowledged. The publishing task writes.
    beat: Stamp,
    /// The latest envelope of ours. The driver writes.
    echo: Stamp,
    /// The latest acknowledgement of the subscription. The subscribing task writes.
    subscribed: Stamp,
}

/// Microseconds since the beginning, zero for never. Orders nothing: a reader that is late by a
/// moment looks again in five seconds.
#[derive(Debug, Default)]
struct Stamp(AtomicU64);

impl Echoes {
    pub(crate) fn new(channels: &Channels) -> Self {
        let stamps = channels.listened().map(|_| Stamps::default()).collect();
        Self { began: Instant::now(), stamps, arrived: Stamp::default() }
    }

    fn set(&self, stamp: &Stamp, at: Instant) {
        // Never zero, which stands for never.
        let micros = at.saturating_duration_since(self.began).as_micros() as u64 + 1;
        // Connections of several servers arrive at once, and the latest counts.
        stamp.0.fetch_max(micros, Ordering::Relaxed);
    }

    fn of(&self, channel: Channel) -> &Stamps {
        &self.stamps[channel.index()]
    }

    /// Notes that something arrived, and whether it is ours.
    pub(crate) fn arrived(&self, channel: Channel, is_ours: bool) {
        let now = Instant::now();
        self.set(&self.arrived, now);
        if is_ours {
            self.set(&self.of(channel).echo, now);
        }
    }

    /// Notes that a heartbeat, which had left at `at`, was acknowledged.
    pub(crate) fn heartbeat_acknowledged(&self, channel: Channel, at: Instant) {
        self.set(&self.of(channel).beat, at);
    }

    pub(crate) fn subscribed(&self, channel: Channel) {
        self.set(&self.of(channel).subscribed, Instant::now());
    }

    /// Whether anything has arrived since an instant.
    pub(crate) fn has_arrived_since(&self, since: Instant) -> bool {
        let arrived = self.arrived.0.load(Ordering::Relaxed);
        arrived > since.saturating_duration_since(self.began).as_micros() as u64
    }

    /// When the last heartbeat left whose echo can be expected.
    pub(crate) fn expected(&self, channel: Channel) -> Option<ExpectedEcho> {
        let Stamps { beat, subscribed, .. } = self.of(channel);
        let beat = beat.0.load(Ordering::Relaxed);
        (beat > subscribed.0.load(Ordering::Relaxed)).then_some(ExpectedEcho { channel, beat })
    }

    /// Whether an echo has come that was expected before.
    pub(crate) fn has_come(&self, expected: ExpectedEcho) -> bool {
        self.of(expected.channel).echo.0.load(Ordering::Relaxed) >= expected.beat
    }
}

/// An echo that must have come when the next probe is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExpectedEcho {
    pub(crate) channel: Channel,
    beat: u64,
}
