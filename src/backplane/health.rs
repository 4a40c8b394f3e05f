//! The health of a backplane: its state, and all its counters.

pub(crate) mod events;
pub(crate) mod half;
pub(crate) mod rejected;
mod status;

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

pub use self::status::BackplaneState;
use self::status::{HalfState, Status, TasksEnd};
use crate::backplane::contract::BackplaneError;
use crate::backplane::health::half::Half;
use crate::backplane::health::rejected::Rejected;
use crate::backplane::identity::NodeId;
use crate::engine::Counter;
use crate::runtime::shield::shielded;
use crate::telemetry::Throttle;

/// The most absent nodes that are listed, over all breaks.
const ABSENT_NODES_MAX: usize = 64;

/// Defines the live counters and their part of the snapshot from one list.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The live counters. Any thread adds and reads. They order no other memory.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)+
        }

        /// A snapshot of a backplane's health.
        ///
        /// The counters count messages, not envelopes, unless they say otherwise. In an idle pair
        /// of nodes, the messages that one has published are those that the other has received or
        /// lost, as soon as a heartbeat has carried the last number.
        ///
        /// With the feature `serde`, durations are seconds (`since_seconds`,
        /// `probe_round_trip_seconds`), and `last_error` is its text.
        #[derive(Debug, Clone, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub struct BackplaneHealth {
            /// Whether messages reach other nodes.
            pub state: BackplaneState,
            /// How long it has been in this state.
            #[cfg_attr(feature = "serde", serde(rename = "since_seconds", with = "crate::seconds"))]
            pub since: Duration,
            /// The last error. It stays when the backplane works again.
            #[cfg_attr(feature = "serde", serde(serialize_with = "error_text"))]
            pub last_error: Option<BackplaneError>,
            /// Messages in the outbox: they wait to be published.
            pub queued: usize,
            /// Messages that have left the outbox and are not acknowledged: at most 2 MiB and one
            /// message. Messages of stalled channels come on top, at most as many as fit into the
            /// outbox: channels that the backplane refuses, or whose messages wait for nodes. After
            /// a failure all of them are sent again.
            pub in_flight: usize,
            /// The round trip of the last probe of the subscription; `None` before the first.
            #[cfg_attr(
                feature = "serde",
                serde(rename = "probe_round_trip_seconds", with = "crate::seconds::option")
            )]
            pub probe_round_trip: Option<Duration>,
            /// Channels that this node is subscribed to.
            pub subscriptions: usize,
            /// Nodes that were known before a break of the backplane and are not back yet.
            /// Published messages wait for them
            /// ([`Builder::rejoin_wait`](crate::Builder::rejoin_wait)).
            pub awaited_nodes: usize,
            /// The last 64 nodes that were not back in time after a break, with the number of
            /// messages that were sent without them.
            pub absent_nodes: Vec<AbsentNode>,
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Health {
            /// A snapshot. `queued` is the number of messages in the outbox.
            pub(super) fn snapshot(&self, queued: usize) -> BackplaneHealth {
                let status = self.status.borrow();
                let round_trip = self.round_trip_us.load(Ordering::Relaxed);
                BackplaneHealth {
                    state: status.state(),
                    since: status.since.elapsed(),
                    last_error: status.last_error.clone(),
                    queued,
                    in_flight: self.in_flight.get() as usize,
                    probe_round_trip: (round_trip > 0).then_some(Duration::from_micros(round_trip)),
                    subscriptions: self.subscriptions.get() as usize,
                    awaited_nodes: self.awaited_nodes.get() as usize,
                    absent_nodes: self.absent_nodes(),
                    $($name: self.counters.$name.get(),)+
                }
            }
        }
    };
}

counters! {
    /// Messages that were published on the backplane, and acknowledged by its server.
    published,
    /// Envelopes that carried these messages. `published / envelopes` shows how well messages
    /// batch.
    envelopes,
    /// Messages of other nodes that were handed to the shards of this node.
    received,
    /// Messages that were never published, because the outbox was full, or because they were larger
    /// than the outbox or than 256 MiB. A full outbox drops its oldest messages. If other threads
    /// have reserved all the space, the new message is dropped instead.
    dropped,
    /// Messages that were sent without a node that was not back in time after a break. Each message
    /// counts once for each such node. `absent_nodes` lists the nodes.
    unreached,
    /// Messages of other nodes that never arrived, found by gaps in their sequence numbers. On each
    /// channel, the count for a node begins with the first number that arrives: earlier losses are
    /// not known.
    lost,
    /// Messages that arrived a second time and were dropped.
    duplicates,
    /// Envelopes that were dropped because this node could not keep up. Their messages also count
    /// as `lost`.
    overrun,
    /// Payloads that are not envelopes, and text messages that are not UTF-8.
    garbage,
    /// Envelopes of an unknown version, for example signed envelopes at a node without a key.
    unknown_version,
    /// Payloads that were dropped unread because they are not signed with a key that this node
    /// accepts: payloads of strangers, and of nodes with another key or none. Always zero without a
    /// [key](crate::Builder).
    unauthenticated,
    /// How often there was no space for another node (limit: 1,024). Then either
    /// [`Hub::cluster`](crate::Hub::cluster) does not count the new node, or the sequence numbers
    /// of an old node were forgotten: losses of messages of the old node in between are not known.
    unlisted_nodes,
    /// Attempts to connect a half of the connection again.
    reconnects,
    /// Messages of other programs that were handed to the shards of this node: see
    /// `Builder::plain_channel`. Without a plain channel, this counter and its siblings are zero.
    plain_received,
    /// Payloads on the plain channel that were dropped because they are too long.
    plain_too_large,
    /// Payloads on the plain channel that were dropped unread because they are not signed with a
    /// key that this node accepts.
    plain_unauthenticated,
    /// Payloads on the plain channel that were dropped because they do not consist of a message and
    /// a target.
    plain_malformed,
    /// Payloads on the plain channel that were dropped because the codec failed on the message.
    plain_undecodable,
    /// Payloads on the plain channel that were dropped because this node could not keep up.
    plain_overrun,
}

#[cfg(feature = "serde")]
fn error_text<S>(error: &Option<BackplaneError>, to: S) -> Result<S::Ok, S::Error>
where
    S: serde::Serializer,
{
    match error {
        Some(error) => to.collect_str(error),
        None => to.serialize_none(),
    }
}

impl BackplaneHealth {
    /// The number of payloads on the plain channel that were dropped, for any reason.
    pub fn plain_rejected(&self) -> u64 {
        self.plain_too_large
            + self.plain_unauthenticated
            + self.plain_malformed
            + self.plain_undecodable
            + self.plain_overrun
    }
}

/// A node that was not back in time after a break of the backplane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AbsentNode {
    /// The node.
    pub node: NodeId,
    /// The number of messages of this node that were sent without it.
    pub messages: u64,
}

/// The changes of a backplane's state, as they happen.
///
/// A caller that does not ask for a while gets only the latest state.
#[derive(Debug)]
pub struct BackplaneChanges {
    status: watch::Receiver<Status>,
}

impl BackplaneChanges {
    /// Waits for the next state; `None` when the hub is gone.
    ///
    /// # Cancel safety
    /// No change is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<BackplaneState> {
        shielded(self.status.changed()).await.ok()?;
        Some(self.status.borrow_and_update().state())
    }
}

/// A number that a single task sets.
#[derive(Debug, Default)]
pub(super) struct Gauge(AtomicU64);

impl Gauge {
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The live health of a backplane.
#[derive(Debug)]
pub(crate) struct Health {
    node: NodeId,
    pub(super) counters: Counters,
    pub(super) subscriptions: Gauge,
    /// The number of nodes that messages wait for.
    pub(super) awaited_nodes: Gauge,
    /// The last nodes that did not come back in time.
    absent_nodes: Mutex<VecDeque<AbsentNode>>,
    /// Rejected payloads that were not reported yet.
    rejections: Mutex<Throttle>,
    /// The number of messages that have left the outbox and are not acknowledged.
    pub(super) in_flight: Gauge,
    /// The round trip of the last probe, in microseconds; zero before the first.
    round_trip_us: AtomicU64,
    status: watch::Sender<Status>,
}

impl Health {
    pub(super) fn new(node: NodeId) -> Self {
        Self {
            node,
            counters: Counters::default(),
            subscriptions: Gauge::default(),
            awaited_nodes: Gauge::default(),
            absent_nodes: Mutex::default(),
            rejections: Mutex::default(),
            in_flight: Gauge::default(),
            round_trip_us: AtomicU64::new(0),
            status: watch::Sender::new(Status::new()),
        }
    }

    /// Notes that a half works. Returns `true` if it did not work before.
    pub(super) fn up(&self, half: Half) -> bool {
        let is_known = *self.status.borrow().half(half) == HalfState::Up;
        if !is_known {
            self.change(|status| *status.half_mut(half) = HalfState::Up);
        }
        !is_known
    }

    /// Notes that a half does not work, and why. Returns `true` if it worked before.
    pub(super) fn down(&self, half: Half, error: BackplaneError) -> bool {
        events::backplane_failed(self.node, half, &error);
        let mut before = HalfState::Down;
        self.change(|status| {
            before = mem::replace(status.half_mut(half), HalfState::Down);
            status.last_error = Some(error);
        });
        before == HalfState::Up
    }

    /// Notes whether another node spreads rooms over a different number of channels.
    pub(super) fn channels_differ(&self, error: Option<BackplaneError>) {
        self.change(|status| {
            status.channels_differ = error.is_some();
            if error.is_some() {
                status.last_error = error;
            }
        });
    }

    /// Notes that a task has ended, so that the backplane works no longer.
    pub(super) fn stop(&self) {
        self.change(|status| {
            status.end = Some(TasksEnd::Stopped);
            status.last_error = Some(BackplaneError::Stopped);
        });
    }

    /// Notes that the hub was shut down and has left the other nodes.
    pub(super) fn leave(&self) {
        self.change(|status| status.end = Some(TasksEnd::Left));
    }

    /// Waits until the backplane has stopped or left.
    pub(super) async fn stopped(&self) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.status.subscribe().wait_for(|status| status.end.is_some()).await;
    }

    /// Notes the round trip of a probe.
    pub(super) fn probed(&self, round_trip: Duration) {
        self.round_trip_us.store((round_trip.as_micros() as u64).max(1), Ordering::Relaxed);
    }

    /// Notes that messages were sent without a node that was not back in time.
    pub(super) fn unreached(&self, node: NodeId, messages: u64) {
        self.counters.unreached.add(messages);
        let mut absent = self.absent_nodes.lock().unwrap_or_else(PoisonError::into_inner);
        match absent.iter_mut().find(|absent| absent.node == node) {
            Some(known) => known.messages += messages,
            None => absent.push_back(AbsentNode { node, messages }),
        }
        if absent.len() > ABSENT_NODES_MAX {
            absent.pop_front();
        }
    }

    fn absent_nodes(&self) -> Vec<AbsentNode> {
        let absent = self.absent_nodes.lock().unwrap_or_else(PoisonError::into_inner);
        absent.iter().copied().collect()
    }

    /// Counts a dropped payload that no node of this hub can have sent.
    pub(super) fn rejected(&self, why: Rejected) {
        match why {
            Rejected::Garbage => &self.counters.garbage,
            Rejected::UnknownVersion => &self.counters.unknown_version,
            Rejected::Unauthenticated => &self.counters.unauthenticated,
        }
        .add(1);
        let sum = self.rejections.lock().unwrap_or_else(PoisonError::into_inner).add(1);
        if let Some(payloads) = sum {
            events::payloads_rejected(self.node, payloads, why);
        }
    }

    /// The error that keeps the backplane down now.
    pub(super) fn error(&self) -> Option<BackplaneError> {
        let status = self.status.borrow();
        status.last_error.clone().filter(|_| status.state() == BackplaneState::Down)
    }

    pub(super) fn changes(&self) -> BackplaneChanges {
        BackplaneChanges { status: self.status.subscribe() }
    }

    /// Changes the status. If that changes the state, notifies the watchers and logs an event.
    fn change(&self, change: impl FnOnce(&mut Status)) {
        let mut news = None;
        self.status.send_if_modified(|status| {
            let before = status.state();
            if status.end.is_some() {
                return false;
            }
            change(status);
            let is_changed = status.state() != before;
            if is_changed {
                status.since = Instant::now();
                news = Some((status.state(), status.last_error.clone()));
            }
            is_changed
        });
        // After the lock is released: a subscriber of events may read the health.
        match news {
            Some((BackplaneState::Up, _)) => events::backplane_up(self.node),
            Some((BackplaneState::Down, error)) => {
                events::backplane_down(self.node, error.as_ref())
            }
            _ => {}
        }
    }
}
