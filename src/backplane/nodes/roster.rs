//! The roster: the other nodes that are alive, and their last reports.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::backplane::envelope::Report;
use crate::backplane::identity::NodeId;

/// A node without a heartbeat for this long is forgotten. It then has missed three.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15);

/// The most nodes in the roster. Each has a report of up to 256 KiB.
const NODES_MAX: usize = 1_024;

/// Another node, as it was at its last report.
#[derive(Debug)]
pub(crate) struct KnownNode {
    pub(crate) node: NodeId,
    epoch: u64,
    pub(crate) heard: Instant,
    pub(crate) report: Report,
}

/// How many members a room has on another node, by its last report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReportedMembers {
    pub(crate) members: u32,
    /// Whether the number is right; otherwise the room may have more members.
    pub(crate) is_exact: bool,
}

impl KnownNode {
    fn is_alive(&self) -> bool {
        self.heard.elapsed() < FORGOTTEN_AFTER
    }

    /// The members of a room. A room that the report does not list may have up to `unlisted_max`
    /// members.
    pub(crate) fn members(&self, room_hash: u64) -> ReportedMembers {
        let rooms = &self.report.rooms;
        match rooms.binary_search_by_key(&room_hash, |room| room.room_hash) {
            Ok(at) => ReportedMembers { members: rooms[at].members, is_exact: true },
            Err(_) => ReportedMembers { members: 0, is_exact: self.report.unlisted_max == 0 },
        }
    }
}

/// The other nodes. The receiving task writes, any thread reads a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    peers: ArcSwap<Vec<Arc<KnownNode>>>,
}

impl Roster {
    /// The nodes that are alive.
    pub(crate) fn peers(&self) -> Vec<Arc<KnownNode>> {
        self.peers.load().iter().filter(|peer| peer.is_alive()).cloned().collect()
    }

    /// Records the report of a node. Returns `false` if the roster has no space for another node. A
    /// report of an earlier epoch is ignored.
    pub(crate) fn record(&self, node: NodeId, epoch: u64, report: Report) -> bool {
        let mut peers = self.peers();
        if let Some(at) = peers.iter().position(|peer| peer.node == node) {
            if peers[at].epoch > epoch {
                return true;
            }
            peers.swap_remove(at);
        }
        let has_space = peers.len() < NODES_MAX;
        if has_space {
            peers.push(Arc::new(KnownNode { node, epoch, heard: Instant::now(), report }));
        }
        self.peers.store(Arc::new(peers));
        has_space
    }

    /// Forgets a node that has said goodbye.
    pub(crate) fn forget(&self, node: NodeId) {
        let mut peers = self.peers();
        peers.retain(|peer| peer.node != node);
        self.peers.store(Arc::new(peers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::envelope::RoomCount;

    fn node(number: u16) -> NodeId {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.to_le_bytes());
        NodeId::from_bytes(bytes)
    }

    fn report(connections: u64) -> Report {
        Report { connections, ..Report::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_lives_for_three_heartbeats_or_until_it_says_goodbye() {
        let roster = Roster::default();
        roster.record(node(1), 1, report(10));
        roster.record(node(2), 1, report(20));
        roster.forget(node(2));
        tokio::time::advance(FORGOTTEN_AFTER - Duration::from_millis(1)).await;
        assert_eq!(roster.peers().len(), 1);
        roster.record(node(1), 1, report(11));
        tokio::time::advance(FORGOTTEN_AFTER - Duration::from_millis(1)).await;
        assert_eq!(roster.peers()[0].report.connections, 11);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(roster.peers().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_space_for_a_known_node_where_there_is_none_for_a_new_one() {
        let roster = Roster::default();
        for number in 0..NODES_MAX as u16 {
            assert!(roster.record(node(number), 1, report(0)));
        }
        assert!(!roster.record(node(NODES_MAX as u16), 1, report(0)));
        assert!(roster.record(node(7), 1, report(1)));
        assert_eq!(roster.peers().len(), NODES_MAX);
    }

    #[test]
    fn members_of_a_room_that_is_not_listed_are_exact_only_where_all_are() {
        let room = |(room_hash, members)| RoomCount { room_hash, members };
        let reported = |members, is_exact| ReportedMembers { members, is_exact };
        let peer = |unlisted_max| KnownNode {
            node: node(1),
            epoch: 1,
            heard: Instant::now(),
            report: Report {
                unlisted_max,
                rooms: [(5, 50), (7, 70)].map(room).into(),
                ..report(0)
            },
        };
        assert_eq!(peer(0).members(7), reported(70, true));
        assert_eq!(peer(0).members(6), reported(0, true));
        assert_eq!(peer(9).members(6), reported(0, false));
    }
}
