//! This node among the others.

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

/// This node, the other nodes, and the requests for a heartbeat of this node before its time.
pub(crate) struct Fleet {
    /// This node.
    pub(crate) node: NodeId,
    /// When this node began, in milliseconds since 1970.
    pub(crate) epoch: u64,
    pub(crate) roster: Roster,
    pub(crate) attendance: Attendance,
    channels: Arc<Channels>,
    health: Arc<Health>,
    /// Whether a heartbeat is wanted before its time. Any task sets it, the publishing task clears it.
    is_heartbeat_wanted: AtomicBool,
    /// Whether the next heartbeat asks the other nodes to show themselves. The subscribing task sets it, the
    /// publishing task clears it.
    is_greeting_wanted: AtomicBool,
    /// Rung when the publishing task has something to do besides messages.
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

    /// Asks the other nodes to show themselves. Called once this node hears them.
    pub(crate) fn greet(&self) {
        self.greet_again();
        self.request_heartbeat();
    }

    /// The next heartbeat greets. Called when a heartbeat that greets was not published.
    pub(crate) fn greet_again(&self) {
        self.is_greeting_wanted.store(true, Ordering::Release);
    }

    /// Whether the next heartbeat is to greet.
    pub(crate) fn wants_greeting(&self) -> bool {
        self.is_greeting_wanted.load(Ordering::Acquire)
    }

    /// Takes the request for a greeting, if there is one.
    pub(crate) fn take_greeting(&self) -> bool {
        self.is_greeting_wanted.swap(false, Ordering::Acquire)
    }

    /// Asks for a heartbeat before its time.
    pub(crate) fn request_heartbeat(&self) {
        self.is_heartbeat_wanted.store(true, Ordering::Release);
        self.wake_publishing();
    }

    /// Takes the request for a heartbeat, if there is one.
    pub(crate) fn take_heartbeat_request(&self) -> bool {
        self.is_heartbeat_wanted.swap(false, Ordering::Acquire)
    }

    /// Makes the publishing task look for work.
    pub(crate) fn wake_publishing(&self) {
        self.publishing.notify_one();
    }

    /// Waits for [`wake_publishing`](Self::wake_publishing).
    ///
    /// # Cancel safety
    /// A call is not forgotten when the future is dropped.
    pub(crate) async fn publishing_woken(&self) {
        self.publishing.notified().await;
    }

    /// Compares over how many channels this node and the others spread rooms, and reports a difference to the
    /// health: messages to rooms do not reach a node with another number.
    pub(crate) fn compare_spreads(&self) {
        let ours = self.channels.spread();
        let peers = self.roster.peers();
        let theirs = peers.iter().map(|peer| peer.report.spread).find(|&theirs| theirs != ours);
        let error = theirs.map(|theirs| BackplaneError::ChannelsDiffer { ours, theirs });
        self.health.channels_differ(error);
    }
}
