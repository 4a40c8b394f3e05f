//! What a hub knows of all nodes.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::backplane::channels::room_hash;
use crate::backplane::identity::NodeId;
use crate::backplane::members::Members;
use crate::backplane::nodes::roster::KnownNode;

/// A node of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Node {
    /// Its identity.
    pub id: NodeId,
    /// Its open connections.
    pub connections: u64,
    /// How old that figure is; zero for the node that was asked, up to 15 seconds for others.
    #[cfg_attr(feature = "serde", serde(rename = "age_seconds", with = "crate::seconds"))]
    pub age: Duration,
}

/// The members of a room, summed over nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RoomMembers {
    /// How many there are.
    pub members: u64,
    /// Whether that is all: a node with more than 16,384 rooms tells of the largest only, and then
    /// a smaller room may have more members than are counted here.
    pub is_exact: bool,
    /// How old the oldest of the figures in it is.
    #[cfg_attr(feature = "serde", serde(rename = "age_seconds", with = "crate::seconds"))]
    pub age: Duration,
}

/// The nodes of a cluster, and what they had when they were last heard of.
///
/// A node tells of itself every five seconds, and at once when a new one comes. One that goes says
/// so; one that crashed is forgotten after 15 seconds.
#[derive(Clone)]
pub struct Cluster {
    nodes: Vec<Node>,
    here: Weak<dyn Members>,
    peers: Vec<Arc<KnownNode>>,
}

impl Cluster {
    /// The node `id`, and those that it knows of.
    pub(crate) fn new(id: NodeId, here: Weak<dyn Members>, peers: Vec<Arc<KnownNode>>) -> Self {
        let connections = here.upgrade().map_or(0, |here| here.connections());
        let own = Node { id, connections, age: Duration::ZERO };
        let others = peers.iter().map(|peer| Node {
            id: peer.node,
            connections: peer.report.connections,
            age: peer.heard.elapsed(),
        });
        Self { nodes: std::iter::once(own).chain(others).collect(), here, peers }
    }

    /// The nodes; the first is the one that was asked.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The open connections of all nodes.
    pub fn connections(&self) -> u64 {
        // What others tell may be anything.
        self.nodes.iter().fold(0, |sum, node| sum.saturating_add(node.connections))
    }

    /// The members of a room, on all nodes.
    pub fn members(&self, room: &str) -> RoomMembers {
        let here = self.here.upgrade().map_or(0, |here| here.members_of(room));
        let mut sum = RoomMembers { members: here, is_exact: true, age: Duration::ZERO };
        let hash = room_hash(room);
        for peer in &self.peers {
            let reported = peer.members(hash);
            sum.members += u64::from(reported.members);
            sum.is_exact &= reported.is_exact;
            sum.age = sum.age.max(peer.heard.elapsed());
        }
        sum
    }

    /// How old the oldest of the figures is.
    pub fn age(&self) -> Duration {
        self.nodes.iter().map(|node| node.age).max().unwrap_or_default()
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}
