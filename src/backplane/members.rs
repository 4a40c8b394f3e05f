//! What the hub's side of a bridge and its tasks share.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::backplane::channels::Channels;
use crate::backplane::contract::BackplaneError;
use crate::backplane::envelope::Signing;
use crate::backplane::health::Health;
use crate::backplane::health::half::Half;
use crate::backplane::identity::NodeId;
use crate::backplane::incoming::inbound::Inbound;
use crate::backplane::nodes::attendance::Attendance;
use crate::backplane::nodes::roster::Roster;
use crate::backplane::outgoing::outbox::Outbox;
use crate::backplane::subscriptions::echoes::Echoes;
use crate::backplane::subscriptions::interest::Interest;
use crate::engine::{Action, Address, ConnKey, Overloaded};

/// The members here, as the bridge sees them.
pub(crate) trait Members: Send + Sync + 'static {
    /// Hands frames, one or a run of whole ones, to those that they are for.
    fn deliver(
        &self,
        address: Address<'_>,
        except: &[ConnKey],
        frames: &Bytes,
    ) -> Result<(), Overloaded>;

    /// Hands over what [`deliver`](Self::deliver) has refused, as soon as there is space.
    fn deliver_later<'a>(
        &'a self,
        address: Address<'a>,
        except: &'a [ConnKey],
        frames: &'a Bytes,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

    /// Has an action happen to connections. Why else it may be refused is counted.
    fn act(
        &self,
        address: Address<'_>,
        except: &[ConnKey],
        action: Action<'_>,
    ) -> Result<(), Overloaded>;

    /// Has what [`act`](Self::act) has refused happen as soon as there is space.
    fn act_later<'a>(
        &'a self,
        address: Address<'a>,
        except: &'a [ConnKey],
        action: Action<'a>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

    /// How many connections there are.
    fn connections(&self) -> u64;

    /// How many members a room has.
    fn members_of(&self, room: &str) -> u64;

    /// Shows rooms with their members to `visit`. One may come in several parts.
    fn for_each_room(&self, visit: &mut dyn FnMut(&str, usize));
}

impl dyn Members {
    /// Hands frames over, as soon as there is space. What has come this far is not lost to a shard that is
    /// busy: the queue before the task that delivers is bounded, and counts what it has no space for.
    pub(super) async fn deliver_in_time(
        &self,
        address: Address<'_>,
        except: &[ConnKey],
        frames: &Bytes,
    ) {
        if self.deliver(address, except, frames).is_err() {
            self.deliver_later(address, except, frames).await;
        }
    }
}

/// What the hub and the tasks of its bridge share.
pub(super) struct Shared {
    pub(super) node: NodeId,
    /// When the node began, in milliseconds since 1970.
    pub(super) epoch: u64,
    pub(super) channels: Arc<Channels>,
    pub(super) signing: Signing,
    pub(super) outbox: Outbox,
    pub(super) inbound: Inbound,
    pub(super) interest: Arc<Interest>,
    pub(super) echoes: Arc<Echoes>,
    pub(super) health: Arc<Health>,
    pub(super) roster: Roster,
    pub(super) attendance: Attendance,
    /// How long nodes are waited for after a break.
    pub(super) rejoin_wait: Duration,
    /// The most bytes of frames that are given to members at once.
    pub(super) run_bytes_max: usize,
    /// Gone with the hub.
    pub(super) members: Weak<dyn Members>,
    /// Whether a heartbeat is asked for before its time, and the bell to that. The publishing task
    /// clears it.
    pub(super) is_asked_to_beat: AtomicBool,
    pub(super) beat_soon: Notify,
    /// Whether this node wants to know who there is. The subscribing task sets it, the publishing
    /// task clears it.
    pub(super) greets: AtomicBool,
    /// Changed by a half of the connection that has found a server.
    pub(super) recovered: watch::Sender<()>,
    /// Set when the hub is closed: then the end of a task is no fault.
    pub(super) is_expected_to_end: AtomicBool,
}

impl Shared {
    /// Asks the other nodes to show themselves, now that what they say is heard.
    pub(super) fn greet(&self) {
        self.greets.store(true, Ordering::Release);
        self.ask_to_beat();
    }

    /// Has the publishing task look what there is to do.
    pub(super) fn wake_publishing(&self) {
        self.beat_soon.notify_one();
    }

    /// Asks for a heartbeat before its time.
    pub(super) fn ask_to_beat(&self) {
        self.is_asked_to_beat.store(true, Ordering::Release);
        self.wake_publishing();
    }

    /// Notes that a half works, and tells the other one if that is news.
    pub(super) fn up(&self, half: Half) -> bool {
        let is_news = self.health.up(half);
        if is_news {
            self.recovered.send_replace(());
        }
        is_news
    }

    /// A node that spreads rooms over another number of channels does not get what is sent to them:
    /// that is told as long as there is one.
    pub(super) fn compare_spreads(&self) {
        let ours = self.channels.spread();
        let peers = self.roster.peers();
        let theirs = peers.iter().map(|peer| peer.report.spread).find(|&theirs| theirs != ours);
        let error = theirs.map(|theirs| BackplaneError::ChannelsDiffer { ours, theirs });
        self.health.misfit(error);
    }
}
