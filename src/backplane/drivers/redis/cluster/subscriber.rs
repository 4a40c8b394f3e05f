//! The receiving half over a cluster: one connection to each master of a subscribed channel.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::ServerError;
use tokio::sync::mpsc;

use super::discovery::{Discovery, unserved};
use crate::backplane::contract::BackplaneError;
use crate::backplane::contract::BackplaneRequest;
use crate::backplane::contract::Inbound;
use crate::backplane::contract::Lost;
use crate::backplane::contract::Subscriber;
use crate::backplane::drivers::redis::message_connection::{MessageConnection, Mode};
use crate::backplane::drivers::redis::push_receiver::ConnectionLoss;
use crate::backplane::drivers::redis::server_addr::ServerAddr;
use crate::backplane::reconnecting::supervise::within;

/// How long a node may take to connect, and how long it may be silent after a request. Shorter than
/// the hub's own deadlines, so that a node that hangs affects only its own channels.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
const ANSWER_DEADLINE: Duration = Duration::from_millis(1_500);

/// The receiving half of [`RedisCluster`](super::RedisCluster).
pub struct ClusterSubscriber {
    discovery: Discovery,
    /// Whether the topology must be learnt again before the next subscription.
    is_stale: bool,
    inbound: Inbound,
    connections: HashMap<ServerAddr, MessageConnection>,
    /// The number of connections so far. It gives each connection its own number.
    connected: u64,
    /// Losses that connections report. Losses of connections that were dropped meanwhile are
    /// ignored.
    losses: mpsc::UnboundedReceiver<ConnectionLoss>,
    sender: mpsc::UnboundedSender<ConnectionLoss>,
    /// Losses that were found in other ways, to be returned by `lost`.
    dropped: VecDeque<Lost>,
}

/// The result of subscribing to the channels of one node.
#[derive(Default)]
struct SubscribeOutcome {
    subscribed: Vec<Arc<str>>,
    refusals: Vec<ServerError>,
    /// Set if the connection cannot be used any longer.
    broken: Option<BackplaneError>,
}

impl ClusterSubscriber {
    pub(super) fn new(discovery: Discovery, inbound: Inbound) -> Self {
        let (sender, losses) = mpsc::unbounded_channel();
        Self {
            discovery,
            is_stale: false,
            inbound,
            connections: HashMap::new(),
            connected: 0,
            losses,
            sender,
            dropped: VecDeque::new(),
        }
    }

    /// Connects to the nodes that are not connected. Returns the first error.
    async fn connect(
        &mut self,
        nodes: impl Iterator<Item = &ServerAddr>,
    ) -> Option<BackplaneError> {
        let missing = nodes.filter(|node| !self.connections.contains_key(*node)).cloned();
        let missing: Vec<ServerAddr> = missing.collect();
        let numbers = self.connected..;
        self.connected += missing.len() as u64;
        let connects = missing.iter().zip(numbers).map(|(node, number)| {
            let (inbound, sender) = (self.inbound.clone(), self.sender.clone());
            let remote = self.discovery.remote(node);
            let connect =
                MessageConnection::connect(remote, Mode::Sharded, number, inbound, sender);
            within(CONNECT_DEADLINE, BackplaneRequest::Connect, connect)
        });
        let mut first_error = None;
        let connected = join_all(connects).await;
        for (node, connection) in missing.into_iter().zip(connected) {
            match connection {
                Ok(connection) => drop(self.connections.insert(node, connection)),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        first_error
    }

    /// Asks each of the connected nodes for its channels.
    async fn ask(
        &self,
        groups: HashMap<ServerAddr, Vec<Arc<str>>>,
    ) -> impl Iterator<Item = (ServerAddr, SubscribeOutcome)> + use<> {
        let connected = groups.into_iter().filter(|(node, _)| self.connections.contains_key(node));
        let asked = connected.map(async |(node, channels)| {
            let outcome = subscribe(&self.connections[&node], &channels).await;
            (node, outcome)
        });
        join_all(asked).await.into_iter()
    }

    /// Drops a connection, and remembers the channels that are lost with it.
    fn drop_connection(&mut self, node: &ServerAddr, error: BackplaneError) {
        let Some(connection) = self.connections.remove(node) else {
            return;
        };
        self.is_stale = true;
        let channels = connection.channels();
        if !channels.is_empty() {
            self.dropped.push_back(Lost::Channels(channels, error));
        }
    }

    /// Drops the connections whose request failed. Returns the last error.
    fn drop_failed(
        &mut self,
        results: Vec<(ServerAddr, Result<(), BackplaneError>)>,
    ) -> Option<BackplaneError> {
        let mut last_error = None;
        for (node, result) in results {
            let Err(error) = result else { continue };
            self.drop_connection(&node, error.clone());
            last_error = Some(error);
        }
        last_error
    }
}

impl Subscriber for ClusterSubscriber {
    async fn subscribe(&mut self, channels: &mut Vec<Arc<str>>) -> Result<(), BackplaneError> {
        if self.is_stale {
            self.discovery.refresh().await?;
        }
        // Until everything has succeeded: if this future is dropped halfway, the topology may be
        // out of date.
        self.is_stale = true;
        let groups = self.discovery.topology().group(&*channels);
        let mut first_error = groups.unserved.map(|channel| unserved(&channel));
        let connect_error = self.connect(groups.by_master.keys()).await;
        first_error = first_error.or(connect_error);
        let named = groups.by_master.into_iter().map(|(node, places)| {
            (node, places.into_iter().map(|place| channels[place].clone()).collect())
        });
        let mut subscribed = HashSet::new();
        for (node, outcome) in self.ask(named.collect()).await {
            subscribed.extend(outcome.subscribed);
            for refusal in outcome.refusals {
                first_error.get_or_insert_with(|| self.discovery.remote(&node).refused(&refusal));
            }
            if let Some(error) = outcome.broken {
                self.drop_connection(&node, error.clone());
                first_error.get_or_insert(error);
            }
        }
        channels.retain(|channel| !subscribed.contains(channel));
        // A connection on which all channels were refused is of no further use.
        self.connections.retain(|_, connection| !connection.is_idle());
        self.is_stale = first_error.is_some();
        first_error.map_or(Ok(()), Err)
    }

    async fn unsubscribe(&mut self, channels: &[Arc<str>]) -> Result<(), BackplaneError> {
        let ends = self.connections.iter().map(|(node, connection)| {
            let carried = channels.iter().filter(|channel| connection.carries(channel));
            let carried: Vec<Arc<str>> = carried.cloned().collect();
            async move { (node.clone(), unsubscribe(connection, &carried).await) }
        });
        let results = join_all(ends).await;
        // A connection that failed is dropped, which ends its subscriptions, too.
        self.drop_failed(results);
        self.connections.retain(|_, connection| !connection.is_idle());
        Ok(())
    }

    /// Fails if no node answers. If only some do not answer, their channels are lost.
    async fn ping(&mut self) -> Result<(), BackplaneError> {
        let pings = self.connections.iter();
        let pings =
            pings.map(|(node, connection)| async move { (node.clone(), ping(connection).await) });
        let results = join_all(pings).await;
        match self.drop_failed(results) {
            Some(error) if self.connections.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    async fn lost(&mut self) -> Lost {
        loop {
            if let Some(lost) = self.dropped.pop_front() {
                return lost;
            }
            let Some(ConnectionLoss { number, error }) = self.losses.recv().await else {
                // Cannot happen: `self` holds a sender.
                return std::future::pending().await;
            };
            let connection =
                self.connections.iter().find(|(_, connection)| connection.number == number);
            if let Some(node) = connection.map(|(node, _)| node.clone()) {
                self.drop_connection(&node, error);
            }
        }
    }
}

async fn subscribe(connection: &MessageConnection, channels: &[Arc<str>]) -> SubscribeOutcome {
    let mut outcome = SubscribeOutcome::default();
    let mut rest = channels;
    while !rest.is_empty() {
        let subscribing = connection.subscribe(rest);
        let request = BackplaneRequest::Subscribe;
        let answers = match connection.unless_silent(ANSWER_DEADLINE, request, subscribing).await {
            Ok(answers) => answers,
            Err(error) => {
                connection.forget(rest);
                outcome.broken = Some(error);
                break;
            }
        };
        let (asked, behind) = rest.split_at(answers.len());
        for (channel, answer) in asked.iter().zip(answers) {
            match answer {
                Ok(()) => outcome.subscribed.push(channel.clone()),
                Err(error) => outcome.refusals.push(error),
            }
        }
        rest = behind;
    }
    outcome
}

async fn unsubscribe(
    connection: &MessageConnection,
    channels: &[Arc<str>],
) -> Result<(), BackplaneError> {
    let unsubscribing = connection.unsubscribe(channels);
    connection.unless_silent(ANSWER_DEADLINE, BackplaneRequest::Subscribe, unsubscribing).await
}

async fn ping(connection: &MessageConnection) -> Result<(), BackplaneError> {
    connection.unless_silent(ANSWER_DEADLINE, BackplaneRequest::Ping, connection.probe()).await
}
