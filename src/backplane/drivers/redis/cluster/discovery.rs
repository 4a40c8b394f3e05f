//! Discovery: learns the topology of a cluster from its nodes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::Value;

use super::topology::Topology;
use crate::backplane::contract::BackplaneError;
use crate::backplane::contract::BackplaneRequest;
use crate::backplane::drivers::redis::remote::Remote;
use crate::backplane::drivers::redis::server_addr::ServerAddr;
use crate::backplane::reconnecting::supervise::within;

/// How long a node may take to return the topology, including the connection: half of the time that
/// the hub allows.
const TELL_DEADLINE: Duration = Duration::from_secs(1);

/// The number of nodes that are asked at once; the first answer counts. Large enough that some of
/// them do not hang, small enough that a large cluster is not asked as a whole.
const ASKED_AT_ONCE: usize = 6;

/// The topology of a cluster, as far as it is known.
pub(super) struct Discovery {
    seeds: Arc<[Remote]>,
    topology: Topology,
    /// The number of times that the topology was learnt. Each time, another node is asked first, so
    /// that a node that was cut off from the cluster is not believed for ever.
    turn: usize,
}

impl Discovery {
    /// Learns the topology from the seeds.
    pub(super) async fn learn(seeds: Arc<[Remote]>) -> Result<Self, BackplaneError> {
        let mut discovery = Self { seeds, topology: Topology::default(), turn: 0 };
        discovery.refresh().await?;
        Ok(discovery)
    }

    /// Learns the topology again, from any node that answers. Otherwise the known topology stays.
    ///
    /// # Errors
    /// No node has answered.
    ///
    /// # Cancel safety
    /// When the future is dropped, the known topology stays.
    pub(super) async fn refresh(&mut self) -> Result<(), BackplaneError> {
        let candidates = self.candidates();
        self.turn += 1;
        let mut answers: FuturesUnordered<_> =
            candidates.into_iter().take(ASKED_AT_ONCE).map(ask).collect();
        let mut first_error = None;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(topology) => {
                    self.topology = topology;
                    return Ok(());
                }
                // A refusal says more than a connection that failed.
                Err(error @ BackplaneError::Refused(_)) => first_error = Some(error),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        let none = || BackplaneError::Settings("a cluster needs the URL of a node".to_owned());
        Err(first_error.unwrap_or_else(none))
    }

    /// The nodes to ask: the known nodes, and the seeds that are not among them.
    fn candidates(&self) -> Vec<Remote> {
        let known = self.topology.nodes();
        let mut candidates: Vec<Remote> = known.iter().map(|node| self.remote(node)).collect();
        let unknown = self.seeds.iter().filter(|seed| !known.contains(seed.address()));
        candidates.extend(unknown.cloned());
        let turn = self.turn % candidates.len().max(1);
        candidates.rotate_left(turn);
        candidates
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// How to connect to a node: as the seed with this address, or else like the first seed.
    pub(super) fn remote(&self, address: &ServerAddr) -> Remote {
        let seed = self.seeds.iter().find(|seed| seed.address() == address);
        seed.cloned().unwrap_or_else(|| self.seeds[0].at(address))
    }
}

async fn ask(node: Remote) -> Result<Topology, BackplaneError> {
    within(TELL_DEADLINE, BackplaneRequest::Connect, ask_patiently(&node)).await
}

async fn ask_patiently(node: &Remote) -> Result<Topology, BackplaneError> {
    let mut connection = node.connect().await?;
    let answer = connection.send_packed_command(redis::cmd("CLUSTER").arg("SLOTS")).await;
    match answer.map_err(|error| node.explain(&error))? {
        Value::ServerError(error) => Err(node.refused(&error)),
        answer => Topology::read(&answer, node.address()).ok_or_else(|| {
            BackplaneError::Connection(format!("{} knows of no slots", node.address()))
        }),
    }
}

/// The error for a channel whose slot no node serves.
pub(super) fn unserved(channel: &str) -> BackplaneError {
    let text = format!("no node of the cluster serves the slot of {channel}");
    BackplaneError::Connection(text)
}
