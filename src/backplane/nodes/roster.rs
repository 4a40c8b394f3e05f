//! Which nodes there are, and what they have, as their heartbeats tell.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::backplane::envelope::Report;
use crate::backplane::identity::NodeId;

/// After how long without a heartbeat a node is forgotten: three of them.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15);

/// The nodes that are kept, each with a report of up to 256 KiB.
const NODES_MAX: usize = 1_024;

/// Another node, as it was at its last heartbeat.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    epoch: u64,
    pub(crate) heard: Instant,
    pub(crate) report: Report,
}

impl Peer {
    fn is_alive(&self) -> bool {
        self.heard.elapsed() < FORGOTTEN_AFTER
    }

    /// The members of a room by its hash, and whether that is exact: a room that is not listed may
    /// have up to `unlisted_max`.
    pub(crate) fn members(&self, room_hash: u64) -> (u32, bool) {
        let rooms = &self.report.rooms;
        match rooms.binary_search_by_key(&room_hash, |&(hash, _)| hash) {
            Ok(at) => (rooms[at].1, true),
            Err(_) => (0, self.report.unlisted_max == 0),
        }
    }
}

/// The other nodes. The receiving task writes, any thread reads a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    peers: ArcSwap<Vec<Arc<Peer>>>,
}

impl Roster {
    /// The nodes that live.
    pub(crate) fn peers(&self) -> Vec<Arc<Peer>> {
        self.peers.load().iter().filter(|peer| peer.is_alive()).cloned().collect()
    }

    /// Enters what a heartbeat has told; `false` where there is no space for another node.
    pub(crate) fn hear(&self, node: NodeId, epoch: u64, report: Report) -> bool {
        let mut peers = self.peers();
        if let Some(at) = peers.iter().position(|peer| peer.node == node) {
            if peers[at].epoch > epoch {
                return true;
            }
            peers.swap_remove(at);
        }
        let has_space = peers.len() < NODES_MAX;
        if has_space {
            peers.push(Arc::new(Peer { node, epoch, heard: Instant::now(), report }));
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
        roster.hear(node(1), 1, report(10));
        roster.hear(node(2), 1, report(20));
        roster.forget(node(2));
        tokio::time::advance(FORGOTTEN_AFTER - Duration::from_millis(1)).await;
        assert_eq!(roster.peers().len(), 1);
        roster.hear(node(1), 1, report(11));
        tokio::time::advance(FORGOTTEN_AFTER - Duration::from_millis(1)).await;
        assert_eq!(roster.peers()[0].report.connections, 11);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(roster.peers().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_room_for_a_known_node_where_there_is_none_for_a_new_one() {
        let roster = Roster::default();
        for number in 0..NODES_MAX as u16 {
            assert!(roster.hear(node(number), 1, report(0)));
        }
        assert!(!roster.hear(node(NODES_MAX as u16), 1, report(0)));
        assert!(roster.hear(node(7), 1, report(1)));
        assert_eq!(roster.peers().len(), NODES_MAX);
    }

    #[test]
    fn members_of_a_room_that_is_not_listed_are_exact_only_where_all_are() {
        let peer = |unlisted_max| Peer {
            node: node(1),
            epoch: 1,
            heard: Instant::now(),
            report: Report { unlisted_max, rooms: [(5, 50), (7, 70)].into(), ..report(0) },
        };
        assert_eq!(peer(0).members(7), (70, true));
        assert_eq!(peer(0).members(6), (0, true));
        assert_eq!(peer(9).members(6), (0, false));
    }
}
