//! The state of nodes that the tasks of a bridge share: this node, the other nodes, and requests
//! for a heartbeat.
//!
//! # Invariants
//! 1. The publishing task alone sends heartbeats. Other tasks set a request and wake it. It takes
//!    the request before it acts, so a request that comes meanwhile leads to another heartbeat.
//! 2. A *greeting* is a heartbeat that asks the other nodes for theirs. It is requested only after
//!    this node is subscribed: before that, it would miss the answers.
//! 3. A greeting is requested again if the heartbeat that carried it was not published.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use super::attendance::Attendance;
use super::roster::Roster;
use crate::backplane::channels::Channels;
use crate::backplane::contract::BackplaneError;
use crate::backplane::health::Health;
use crate::backplane::identity::NodeId;

/// This node, the other nodes, and requests for a heartbeat before the regular one.
pub(crate) struct Fleet {
    /// This node.
    pub(crate) node: NodeId,
    /// The time at which this node began, in milliseconds since 1970.
    pub(crate) epoch: u64,
    pub(crate) roster: Roster,
    pub(crate) attendance: Attendance,
    channels: Arc<Channels>,
    health: Arc<Health>,
    /// Whether a heartbeat is requested before the regular one. Any task sets it, the publishing
    /// task clears it.
    is_heartbeat_wanted: AtomicBool,
    /// Whether the next heartbeat is a greeting. The subscribing and the publishing task set it,
    /// the publishing task clears it.
    is_greeting_wanted: AtomicBool,
    /// Notified when the publishing task has work other than messages.
    publishing: Notify,
}

impl Fleet {
    pub(crate) fn new(node: NodeId, channels: Arc<Channels>, health: Arc<Health>) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            node,
            epoch: since_1970.map_or(0, |since| since.as_millis() as u64),
            roster: Roster::default(),
            attendance: Attendance::default(),
            channels,
            health,
            is_heartbeat_wanted: AtomicBool::new(false),
            is_greeting_wanted: AtomicBool::new(false),
            publishing: Notify::new(),
        }
    }

    /// Requests a greeting at once (invariant 2).
    pub(crate) fn greet(&self) {
        self.greet_again();
        self.request_heartbeat();
    }

    /// Makes the next heartbeat a greeting (invariant 3).
    pub(crate) fn greet_again(&self) {
        self.is_greeting_wanted.store(true, Ordering::Release);
    }

    /// Whether the next heartbeat is to be a greeting.
    pub(crate) fn wants_greeting(&self) -> bool {
        self.is_greeting_wanted.load(Ordering::Acquire)
    }

    /// Takes the request for a greeting, if there is one.
    pub(crate) fn take_greeting(&self) -> bool {
        self.is_greeting_wanted.swap(false, Ordering::Acquire)
    }

    /// Requests a heartbeat before the regular one.
    pub(crate) fn request_heartbeat(&self) {
        self.is_heartbeat_wanted.store(true, Ordering::Release);
        self.wake_publishing();
    }

    /// Takes the request for a heartbeat, if there is one.
    pub(crate) fn take_heartbeat_request(&self) -> bool {
        self.is_heartbeat_wanted.swap(false, Ordering::Acquire)
    }

    /// Wakes the publishing task, which then looks for work.
    pub(crate) fn wake_publishing(&self) {
        self.publishing.notify_one();
    }

    /// Waits for [`wake_publishing`](Self::wake_publishing). For the publishing task alone.
    ///
    /// # Cancel safety
    /// A wake-up is not lost when the future is dropped.
    pub(crate) async fn publishing_woken(&self) {
        self.publishing.notified().await;
    }

    /// Compares the number of channels that this node and the other nodes spread rooms over, and
    /// reports a difference to the health: messages to rooms do not reach a node with another
    /// number.
    pub(crate) fn compare_spreads(&self) {
        let ours = self.channels.spread();
        let peers = self.roster.peers();
        let theirs = peers.iter().map(|peer| peer.report.spread).find(|&theirs| theirs != ours);
        let error = theirs.map(|theirs| BackplaneError::ChannelsDiffer { ours, theirs });
        self.health.channels_differ(error);
    }
}
