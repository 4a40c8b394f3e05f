//! Echoes: the proof that a subscription works, because this node receives its own envelopes.
//!
//! # Invariants
//! 1. A probe is answered on the connection that messages arrive by, behind everything that was
//!    sent to this node before.
//! 2. An echo is expected after four steps in this order: (a) the subscription was acknowledged,
//!    (b) a heartbeat was sent, (c) the heartbeat was acknowledged, (d) the probe was sent. Such an
//!    echo arrives before the answer to the probe.
//! 3. So if the probe has been answered and the echo has not arrived, the channel is no longer
//!    subscribed to, whatever this node believes.
//! 4. Each stamp only grows.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::backplane::channels::{Channel, Channels};

/// The times at which heartbeats left, and at which envelopes of this node came back.
#[derive(Debug)]
pub(crate) struct Echoes {
    began: Instant,
    /// By the index of the channel.
    stamps: Box<[Stamps]>,
    /// The last arrival of any payload.
    arrived: Stamp,
}

/// The times of one channel.
#[derive(Debug, Default)]
struct Stamps {
    /// When the last acknowledged heartbeat left. The publishing task writes.
    beat: Stamp,
    /// When the last envelope of this node arrived. The driver writes.
    echo: Stamp,
    /// When the subscription was last acknowledged. The subscribing task writes.
    subscribed: Stamp,
}

/// Microseconds since the start; zero for never. Orders no other memory: a reader that misses a
/// late write looks again at the next probe.
#[derive(Debug, Default)]
struct Stamp(AtomicU64);

impl Echoes {
    pub(crate) fn new(channels: &Channels) -> Self {
        let stamps = channels.listened().map(|_| Stamps::default()).collect();
        Self { began: Instant::now(), stamps, arrived: Stamp::default() }
    }

    fn set(&self, stamp: &Stamp, at: Instant) {
        // At least one, because zero means never.
        let micros = at.saturating_duration_since(self.began).as_micros() as u64 + 1;
        // Payloads of several servers may arrive at the same time. The latest counts (invariant 4).
        stamp.0.fetch_max(micros, Ordering::Relaxed);
    }

    fn of(&self, channel: Channel) -> &Stamps {
        &self.stamps[channel.index()]
    }

    /// Notes that a payload arrived, and whether it is an envelope of this node.
    pub(crate) fn arrived(&self, channel: Channel, is_ours: bool) {
        let now = Instant::now();
        self.set(&self.arrived, now);
        if is_ours {
            self.set(&self.of(channel).echo, now);
        }
    }

    /// Notes that a heartbeat which left at `at` was acknowledged.
    pub(crate) fn heartbeat_acknowledged(&self, channel: Channel, at: Instant) {
        self.set(&self.of(channel).beat, at);
    }

    /// Notes that the subscription to a channel was acknowledged.
    pub(super) fn subscribed(&self, channel: Channel) {
        self.set(&self.of(channel).subscribed, Instant::now());
    }

    /// Whether any payload has arrived since then.
    pub(super) fn has_arrived_since(&self, since: Instant) -> bool {
        let arrived = self.arrived.0.load(Ordering::Relaxed);
        arrived > since.saturating_duration_since(self.began).as_micros() as u64
    }

    /// The echo that the next probe must find, if any (invariant 2).
    pub(super) fn expected(&self, channel: Channel) -> Option<ExpectedEcho> {
        let Stamps { beat, subscribed, .. } = self.of(channel);
        let beat = beat.0.load(Ordering::Relaxed);
        (beat > subscribed.0.load(Ordering::Relaxed)).then_some(ExpectedEcho { channel, beat })
    }

    /// Whether the expected echo, or a later one, has arrived.
    pub(super) fn has_come(&self, expected: ExpectedEcho) -> bool {
        self.of(expected.channel).echo.0.load(Ordering::Relaxed) >= expected.beat
    }
}

/// An echo that must have arrived when the next probe is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExpectedEcho {
    pub(super) channel: Channel,
    beat: u64,
}
