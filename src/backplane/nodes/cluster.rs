//! The cluster in the public API: the nodes that a hub knows, and their connections and rooms.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::backplane::channels::room_hash;
use crate::backplane::identity::NodeId;
use crate::backplane::nodes::roster::KnownNode;
use crate::backplane::this_node::ThisNode;

/// A node of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Node {
    /// The identity of the node.
    pub id: NodeId,
    /// The number of its open connections.
    pub connections: u64,
    /// The age of that figure: zero for the node that was asked, up to 15 seconds for other nodes.
    #[cfg_attr(feature = "serde", serde(rename = "age_seconds", with = "crate::seconds"))]
    pub age: Duration,
}

/// The number of members of a room, summed over all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RoomMembers {
    /// The number of members.
    pub members: u64,
    /// Whether the number is complete. A node with more than 16,384 rooms reports only its largest
    /// rooms, so a smaller room may have more members than are counted here.
    pub is_exact: bool,
    /// The age of the oldest figure in the sum.
    #[cfg_attr(feature = "serde", serde(rename = "age_seconds", with = "crate::seconds"))]
    pub age: Duration,
}

/// The nodes of a cluster, with the figures of their last reports.
///
/// Each node reports every five seconds, and within a second when a new node joins. A node that
/// shuts down says goodbye; a node that has crashed is forgotten after 15 seconds.
#[derive(Clone)]
pub struct Cluster {
    nodes: Vec<Node>,
    here: Weak<dyn ThisNode>,
    peers: Vec<Arc<KnownNode>>,
}

impl Cluster {
    /// The node `id` and the nodes that it knows.
    pub(crate) fn new(id: NodeId, here: Weak<dyn ThisNode>, peers: Vec<Arc<KnownNode>>) -> Self {
        let connections = here.upgrade().map_or(0, |here| here.connections());
        let own = Node { id, connections, age: Duration::ZERO };
        let others = peers.iter().map(|peer| Node {
            id: peer.node,
            connections: peer.report.connections,
            age: peer.heard.elapsed(),
        });
        Self { nodes: std::iter::once(own).chain(others).collect(), here, peers }
    }

    /// The nodes. The first one is the node that was asked.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The number of open connections on all nodes.
    pub fn connections(&self) -> u64 {
        // Other nodes may report any number.
        self.nodes.iter().fold(0, |sum, node| sum.saturating_add(node.connections))
    }

    /// The number of members of a room on all nodes.
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

    /// The age of the oldest figure.
    pub fn age(&self) -> Duration {
        self.nodes.iter().map(|node| node.age).max().unwrap_or_default()
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}
