//! The bridge between a hub and the other nodes: the hub publishes and asks for health through it.
//!
//! It starts one task each for publishing, subscribing, receiving and, with a plain channel, for
//! the messages of other programs. The tasks end when the bridge is dropped.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::backplane::channels::Channels;
use crate::backplane::contract::{Backplane, BackplaneError, Inbound};
use crate::backplane::envelope::{MessageContent, Signing, encode};
use crate::backplane::health::{BackplaneChanges, BackplaneHealth, Health};
use crate::backplane::identity::{ConnId, NodeId};
#[cfg(feature = "json")]
use crate::backplane::incoming::plain::{Arrivals, Delivering, PlainConfig};
use crate::backplane::incoming::queue::IncomingQueue;
use crate::backplane::incoming::receiving::{self, Receiving};
use crate::backplane::nodes::fleet::Fleet;
use crate::backplane::nodes::roster::KnownNode;
use crate::backplane::outgoing::outbox::{Outbox, Outgoing};
use crate::backplane::outgoing::packing::{self, Packing};
use crate::backplane::outgoing::publishing::{self, Publishing};
use crate::backplane::reconnecting::halves::ConnectionHalves;
use crate::backplane::subscriptions::echoes::Echoes;
use crate::backplane::subscriptions::interest::Interest;
use crate::backplane::subscriptions::subscribing::{self, Subscribing};
use crate::backplane::this_node::ThisNode;
use crate::engine::{Action, Address, Frames, InboxLimits, RoomWatch};

/// The most bytes of frames that are handed to members at once. A hundred small messages then share
/// one delivery to the shards, and a client that is slow for a moment is not evicted by one large
/// delivery.
const RUN_BYTES_MAX: usize = 16 * 1024;

/// The settings of a bridge.
#[derive(Debug, Clone)]
pub(crate) struct BridgeConfig {
    /// The name that all channels of the hub share.
    pub(crate) channel: String,
    /// The number of channels that rooms are spread over.
    pub(crate) spread: u16,
    /// The bounds of the outbox: messages that wait to be published.
    pub(crate) outbox: InboxLimits,
    /// The keys that sign envelopes.
    pub(crate) signing: Signing,
    /// How long messages wait for nodes that are missing after a break.
    pub(crate) rejoin_wait: Duration,
    /// The size of a client's send queue, in bytes.
    pub(crate) queue_bytes: usize,
    /// The channel of other programs.
    #[cfg(feature = "json")]
    pub(crate) plain: Option<PlainConfig>,
}

impl BridgeConfig {
    fn plain_channel(&self) -> Option<Arc<str>> {
        #[cfg(feature = "json")]
        return self.plain.as_ref().map(|plain| plain.channel.clone());
        #[cfg(not(feature = "json"))]
        None
    }
}

/// A bridge that has not been started. It counts rooms already, so that no room is missed.
pub(crate) struct BridgePlan {
    config: BridgeConfig,
    channels: Arc<Channels>,
    interest: Arc<Interest>,
}

impl BridgePlan {
    pub(crate) fn new(config: BridgeConfig) -> Self {
        let channels =
            Arc::new(Channels::new(&config.channel, config.spread, config.plain_channel()));
        let interest = Arc::new(Interest::new(channels.clone()));
        Self { config, channels, interest }
    }

    /// The observer that the engine notifies of new and removed rooms.
    pub(crate) fn room_watch(&self) -> Arc<dyn RoomWatch> {
        self.interest.clone()
    }

    /// Starts the tasks, which then connect. Returns at once.
    pub(crate) fn start<B: Backplane>(
        self,
        backplane: B,
        node: NodeId,
        here: Weak<dyn ThisNode>,
        runtime: &Handle,
    ) -> Bridge {
        let Self { config, channels, interest } = self;
        let health = Arc::new(Health::new(node));
        let halves = Arc::new(ConnectionHalves::new(health.clone()));
        let echoes = Arc::new(Echoes::new(&channels));
        let fleet = Arc::new(Fleet::new(node, channels.clone(), health.clone()));
        let outbox = Arc::new(Outbox::new(config.outbox, health.clone()));
        let signing = config.signing;
        #[cfg(feature = "json")]
        let plain = config.plain.zip(channels.plain()).map(|(plain, channel)| {
            Arc::new(Arrivals::new(node, channel, plain, signing.clone(), health.clone()))
        });
        let queue = Arc::new(IncomingQueue {
            node,
            channels: channels.clone(),
            signing: signing.clone(),
            echoes: echoes.clone(),
            health: health.clone(),
            #[cfg(feature = "json")]
            plain: plain.clone(),
            received: IncomingQueue::inbox(),
        });
        let backplane = Arc::new(backplane);
        let packing = Packing::new(packing::Deps {
            outbox: outbox.clone(),
            channels: channels.clone(),
            signing: signing.clone(),
            fleet: fleet.clone(),
            health: health.clone(),
        });
        let publishing = publishing::Deps {
            outbox: outbox.clone(),
            channels: channels.clone(),
            interest: interest.clone(),
            echoes: echoes.clone(),
            halves: halves.clone(),
            fleet: fleet.clone(),
            here: here.clone(),
            rejoin_wait: config.rejoin_wait,
        };
        let publishing = Publishing::new(backplane.clone(), packing, publishing);
        let subscribing = subscribing::Deps {
            channels: channels.clone(),
            interest: interest.clone(),
            echoes,
            inbound: Inbound::new(queue.clone()),
            halves,
            fleet: fleet.clone(),
        };
        let subscribing = Subscribing::new(backplane, subscribing);
        let receiving = Receiving::new(receiving::Deps {
            queue,
            signing,
            channels: channels.clone(),
            interest: interest.clone(),
            fleet: fleet.clone(),
            health: health.clone(),
            here: here.clone(),
            run_bytes_max: RUN_BYTES_MAX.min(config.queue_bytes),
        });
        let (stop, stopped) = watch::channel(());
        let is_end_expected = Arc::new(AtomicBool::new(false));
        let guard = || TaskGuard {
            outbox: outbox.clone(),
            health: health.clone(),
            is_end_expected: is_end_expected.clone(),
            stop: stopped.clone(),
        };
        runtime.spawn(guard().guard(publishing.run(stopped.clone())));
        runtime.spawn(guard().guard(until_stopped(stopped.clone(), subscribing.run())));
        runtime.spawn(guard().guard(until_stopped(stopped.clone(), receiving.run())));
        #[cfg(feature = "json")]
        if let Some(plain) = plain {
            let delivering = Delivering::new(plain, here);
            runtime.spawn(guard().guard(until_stopped(stopped.clone(), delivering.run())));
        }
        Bridge { channels, interest, outbox, fleet, health, is_end_expected, stop }
    }
}

/// Notices that a task of the bridge has ended while the hub is still open, and reports the
/// backplane as stopped. Otherwise the hub would wait for its backplane for ever.
struct TaskGuard {
    outbox: Arc<Outbox>,
    health: Arc<Health>,
    /// Set when the hub is closed: from then on the end of a task is not a fault.
    is_end_expected: Arc<AtomicBool>,
    stop: watch::Receiver<()>,
}

impl TaskGuard {
    async fn guard(self, task: impl Future<Output = ()>) {
        task.await;
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        // Publishers that wait for space would wait for ever.
        self.outbox.set_flowing(false);
        let has_hub_gone = self.stop.has_changed().is_err();
        if !has_hub_gone && !self.is_end_expected.load(Ordering::Relaxed) {
            self.health.stop();
        }
    }
}

async fn until_stopped(mut stop: watch::Receiver<()>, task: impl Future<Output = ()>) {
    tokio::select! {
        () = task => {}
        // The hub leaves, or it has been dropped, and the sender with it.
        _ = stop.changed() => {}
    }
}

/// The connection of a hub to the other nodes. When it is dropped, the tasks end as they do with
/// [`leave`](Self::leave), if their runtime still runs.
pub(crate) struct Bridge {
    channels: Arc<Channels>,
    interest: Arc<Interest>,
    outbox: Arc<Outbox>,
    fleet: Arc<Fleet>,
    health: Arc<Health>,
    /// Set when the hub is closed: from then on the end of a task is not a fault.
    is_end_expected: Arc<AtomicBool>,
    /// Ends the tasks when it is changed or dropped.
    stop: watch::Sender<()>,
}

impl Bridge {
    /// Encodes a message for other nodes; `None` if only a connection of this node can get it.
    pub(crate) fn message(
        &self,
        address: Address<'_, ConnId>,
        except: &[ConnId],
        message: &Frames,
    ) -> Option<Outgoing> {
        self.outgoing(address, except, MessageContent::framed(message))
    }

    /// Encodes an action for other nodes; `None` if it can only concern a connection of this node.
    pub(crate) fn action(
        &self,
        address: Address<'_, ConnId>,
        except: &[ConnId],
        action: Action<'_>,
    ) -> Option<Outgoing> {
        self.outgoing(address, except, MessageContent::Action(action))
    }

    /// Whether the address may include a connection of another node.
    fn is_elsewhere(&self, address: Address<'_, ConnId>) -> bool {
        !matches!(address, Address::Conn(id) if id.node() == self.fleet.node)
    }

    /// The excepted connections that belong to other nodes.
    fn elsewhere(&self, except: &[ConnId]) -> impl Iterator<Item = ConnId> + Clone {
        let node = self.fleet.node;
        except.iter().copied().filter(move |id| id.node() != node)
    }

    fn outgoing(
        &self,
        address: Address<'_, ConnId>,
        except: &[ConnId],
        content: MessageContent<'_>,
    ) -> Option<Outgoing> {
        self.is_elsewhere(address).then(|| Outgoing {
            channel: self.channels.of(address),
            message: encode(address, self.elsewhere(except), content),
        })
    }

    /// Queues a message for the other nodes. Never waits. If the queue is full, the oldest message
    /// is dropped.
    pub(crate) fn send(&self, outgoing: Outgoing) {
        self.outbox.push(outgoing);
    }

    /// Queues a message as [`send`](Self::send) does, but first waits for space: while the
    /// backplane is up and more than 4 MiB, 32,768 messages, or half of the outbox are queued. The
    /// call does not wait while the backplane is down, or while messages wait for other nodes to
    /// come back.
    ///
    /// # Cancel safety
    /// When the future is dropped, the message is queued without waiting.
    pub(crate) async fn send_in_time(&self, outgoing: Outgoing) {
        if let Err(outgoing) = self.outbox.try_push(outgoing) {
            // Boxed: waiting is rare, and the size of the future would add to every future that may
            // wait.
            Box::pin(self.outbox.push_in_time(outgoing)).await;
        }
    }

    /// Waits until every message that was published before this call is acknowledged or dropped.
    /// While the backplane is down, the call goes on waiting. It returns at once when no message is
    /// queued or on its way, and when the tasks have ended.
    ///
    /// The call does not wait for messages that are published later, with one exception: while a
    /// channel is stalled, it also waits for later messages of that channel.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: the messages leave anyway.
    pub(crate) fn flush(&self) -> impl Future<Output = ()> {
        let settled = self.outbox.progress().all_settled();
        async {
            tokio::select! {
                () = settled => {}
                () = self.health.stopped() => {}
            }
        }
    }

    /// Notes that the hub is closed. From now on, the end of a task is not reported as a fault.
    pub(crate) fn expect_end(&self) {
        self.is_end_expected.store(true, Ordering::Relaxed);
    }

    /// Publishes the queued messages, says goodbye to the other nodes, and ends the tasks. Returns
    /// when that is done, after two seconds at most. Call it when nothing is published any more.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: the tasks end anyway.
    pub(crate) async fn leave(&self) {
        self.expect_end();
        self.stop.send_replace(());
        self.health.stopped().await;
    }

    /// The number of messages that are queued, or on their way and not acknowledged. Messages that
    /// move from one state to the other during the call may be missing.
    pub(crate) fn unsent(&self) -> usize {
        self.outbox.len() + self.health.in_flight.get() as usize
    }

    /// Waits until this node is subscribed to the channel of the room. The room must have members
    /// here.
    pub(crate) async fn subscribed_to(&self, room: &str) {
        self.interest.subscribed_to(room).await;
    }

    pub(crate) fn health(&self) -> BackplaneHealth {
        self.health.snapshot(self.outbox.len())
    }

    pub(crate) fn error(&self) -> Option<BackplaneError> {
        self.health.error()
    }

    pub(crate) fn changes(&self) -> BackplaneChanges {
        self.health.changes()
    }

    /// The other nodes that are known.
    pub(crate) fn peers(&self) -> Vec<Arc<KnownNode>> {
        self.fleet.roster.peers()
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("node", &self.fleet.node)
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}
