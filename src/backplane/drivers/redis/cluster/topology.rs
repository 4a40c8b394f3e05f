//! The topology of a cluster: which node serves which slot.

use std::collections::HashMap;
use std::sync::Arc;

use redis::Value;
use redis::cluster_routing::Slot;

use crate::backplane::drivers::redis::server_addr::ServerAddr;
use crate::backplane::drivers::redis::value::{field, text};

/// The slots and nodes of a cluster, as one of its nodes sees them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Topology {
    /// Masters and replicas, each once.
    nodes: Vec<ServerAddr>,
    /// For each slot that is served, the position of its master in `nodes`.
    masters: HashMap<Slot, usize>,
}

/// A list of channels, grouped by the masters that serve them.
pub(super) struct ChannelGroups {
    /// For each master, the positions of its channels in the list, in ascending order.
    pub(super) by_master: HashMap<ServerAddr, Vec<usize>>,
    /// One of the channels that no master serves, if there are any.
    pub(super) unserved: Option<Arc<str>>,
}

impl Topology {
    /// Reads the answer of a node to `CLUSTER SLOTS`; `None` if it is another answer, or names no
    /// slots. Parts that cannot be understood are left out.
    pub(super) fn read(answer: &Value, asked: &ServerAddr) -> Option<Self> {
        let Value::Array(ranges) = answer else {
            return None;
        };
        let mut topology = Self::default();
        for range in ranges {
            topology.add_range(range, asked);
        }
        (!topology.masters.is_empty()).then_some(topology)
    }

    /// Adds a range, which is its first slot, its last slot, its master, and the replicas.
    fn add_range(&mut self, range: &Value, asked: &ServerAddr) -> Option<()> {
        let Value::Array(range) = range else {
            return None;
        };
        let [Value::Int(first), Value::Int(last), master, replicas @ ..] = &range[..] else {
            return None;
        };
        let master = self.place(read_node(master, asked)?);
        let slots = u16::try_from(*first).ok()?..=u16::try_from(*last).ok()?;
        self.masters.extend(slots.filter_map(Slot::new).map(|slot| (slot, master)));
        for replica in replicas.iter().filter_map(|replica| read_node(replica, asked)) {
            self.place(replica);
        }
        Some(())
    }

    /// The position of a node in `nodes`. Adds the node if it is new.
    fn place(&mut self, node: ServerAddr) -> usize {
        self.nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        })
    }

    /// The master that serves a channel; `None` if no node serves its slot.
    fn master_of(&self, channel: &str) -> Option<&ServerAddr> {
        self.masters.get(&Slot::for_key(channel)).map(|master| &self.nodes[*master])
    }

    /// Groups a list of channels by their masters.
    pub(super) fn group<'a>(
        &self,
        channels: impl IntoIterator<Item = &'a Arc<str>>,
    ) -> ChannelGroups {
        let mut by_master: HashMap<ServerAddr, Vec<usize>> = HashMap::new();
        let mut unserved = None;
        for (place, channel) in channels.into_iter().enumerate() {
            match self.master_of(channel) {
                Some(master) => match by_master.get_mut(master) {
                    Some(places) => places.push(place),
                    None => drop(by_master.insert(master.clone(), vec![place])),
                },
                None => unserved = Some(channel.clone()),
            }
        }
        ChannelGroups { by_master, unserved }
    }

    /// All nodes, masters and replicas.
    pub(super) fn nodes(&self) -> &[ServerAddr] {
        &self.nodes
    }
}

/// Reads a node: its host, its port, and more. A node that does not know its own host leaves it
/// out: then the host is the one that was asked.
fn read_node(node: &Value, asked: &ServerAddr) -> Option<ServerAddr> {
    let Value::Array(node) = node else {
        return None;
    };
    let [host, Value::Int(port), ..] = &node[..] else {
        return None;
    };
    let host = match text(host) {
        // The cluster uses host names, and this node has none.
        Some("?") => node.get(3).and_then(|more| field(more, "ip")).unwrap_or(&asked.host),
        Some("") | None => &asked.host,
        Some(host) => host,
    };
    Some(ServerAddr { host: host.into(), port: u16::try_from(*port).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), text("id"), Value::Array(vec![])])
    }

    fn range(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        let mut range = vec![Value::Int(first), Value::Int(last)];
        range.extend(nodes);
        Value::Array(range)
    }

    fn address(host: &str, port: u16) -> ServerAddr {
        ServerAddr { host: host.into(), port }
    }

    fn read(ranges: Vec<Value>) -> Option<Topology> {
        Topology::read(&Value::Array(ranges), &address("asked", 1))
    }

    #[test]
    fn channel_belongs_to_the_master_of_its_slot() {
        let topology = read(vec![
            range(0, 8_000, vec![node(text("a"), 1), node(text("b"), 2)]),
            range(8_001, 16_383, vec![node(text("b"), 3), node(text("a"), 1)]),
        ]);
        let topology = topology.unwrap();
        // The slots of `foo` and `bar` are in the specification: 12182 and 5061.
        assert_eq!(topology.master_of("foo"), Some(&address("b", 3)));
        assert_eq!(topology.master_of("bar"), Some(&address("a", 1)));
        assert_eq!(topology.master_of("other{bar}"), Some(&address("a", 1)));
        assert_eq!(topology.nodes(), [address("a", 1), address("b", 2), address("b", 3)]);
    }

    #[test]
    fn slot_that_nobody_serves_has_no_master() {
        let topology = read(vec![range(0, 8_000, vec![node(text("a"), 1)])]).unwrap();
        assert_eq!(topology.master_of("foo"), None);
    }

    #[test]
    fn channels_are_grouped_by_master_in_their_order() {
        let topology = read(vec![
            range(5_000, 5_100, vec![node(text("a"), 1)]),
            range(12_000, 12_200, vec![node(text("b"), 2)]),
        ]);
        let channels = ["bar", "foo", "{bar}1", "hello", "{foo}2"].map(Arc::from);
        let groups = topology.unwrap().group(&channels);
        let expected = [(address("a", 1), vec![0, 2]), (address("b", 2), vec![1, 4])];
        assert_eq!(groups.by_master, HashMap::from(expected));
        assert_eq!(groups.unserved.as_deref(), Some("hello"));
    }

    #[test]
    fn node_without_a_host_has_the_host_that_was_asked() {
        for host in [Value::Nil, text(""), text("?")] {
            let topology = read(vec![range(0, 16_383, vec![node(host, 7)])]).unwrap();
            assert_eq!(topology.nodes(), [address("asked", 7)]);
        }
    }

    #[test]
    fn node_without_a_host_name_has_its_ip_address() {
        let pairs = vec![text("ip"), text("10.0.0.1")];
        let map = vec![(text("ip"), text("10.0.0.1"))];
        for more in [Value::Array(pairs), Value::Map(map)] {
            let node = Value::Array(vec![text("?"), Value::Int(7), text("id"), more]);
            let topology = read(vec![range(0, 16_383, vec![node])]).unwrap();
            assert_eq!(topology.nodes(), [address("10.0.0.1", 7)]);
        }
    }

    #[test]
    fn answer_without_slots_is_refused() {
        assert_eq!(read(vec![]), None);
        assert_eq!(Topology::read(&Value::Okay, &address("asked", 1)), None);
    }

    #[test]
    fn ranges_that_cannot_be_understood_are_left_out() {
        let topology = read(vec![
            Value::Okay,
            range(0, -1, vec![node(text("a"), 1)]),
            range(0, 1, vec![node(text("a"), 70_000)]),
            range(0, 1, vec![]),
            range(16_000, 20_000, vec![node(text("b"), 2), Value::Nil]),
        ]);
        let topology = topology.unwrap();
        assert_eq!(topology.masters.len(), 384);
        assert_eq!(topology.nodes(), [address("a", 1), address("b", 2)]);
    }
}
