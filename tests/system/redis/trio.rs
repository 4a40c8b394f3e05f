//! Three nodes that all publish, with a client on each, and the accounting of all messages.

use std::time::Duration;

use roomcast::{BackplaneHealth, Conn, Hub};
use tokio::time::Instant;

use crate::feed::{Numbered, ROOM};
use crate::pair::{Reader, health, is_up, node};
use support::servers::RedisServer;
use support::{Recorded, eventually, within};

/// The numbers of node `n` begin at `n * BLOCK`.
const BLOCK: u64 = 1_000_000;

/// A node of the three.
pub(crate) struct Third {
    pub(crate) node: Recorded<Numbered>,
    reader: Reader,
    conn: Conn<Numbered>,
    published: u64,
}

impl Third {
    pub(crate) fn hub(&self) -> &Hub<Numbered> {
        &self.node.hub
    }

    pub(crate) fn health(&self) -> BackplaneHealth {
        health(self.hub())
    }

    /// The numbers from a node that have arrived here.
    fn numbers_of(&self, at: usize) -> Vec<u64> {
        let block = at as u64 * BLOCK..(at as u64 + 1) * BLOCK;
        let mut numbers = self.reader.numbers();
        numbers.retain(|number| block.contains(number));
        numbers
    }
}

pub(crate) struct Trio {
    pub(crate) nodes: Vec<Third>,
}

impl Trio {
    /// Three nodes on one server.
    pub(crate) async fn linked(redis: &RedisServer) -> Self {
        Self::of([(); 3].map(|()| node(&redis.url()).build().unwrap())).await
    }

    /// Three nodes that know each other, and have received messages from each other.
    pub(crate) async fn of(hubs: [Hub<Numbered>; 3]) -> Self {
        let mut nodes = Vec::new();
        for hub in hubs {
            let mut node = Recorded::serve(hub).await;
            let (client, conn) = node.connect().await;
            conn.try_join(ROOM).expect("the room is new");
            nodes.push(Third { node, reader: Reader::new(client), conn, published: 0 });
        }
        for third in &nodes {
            within("a subscription", third.conn.join_subscribed(ROOM))
                .await
                .expect("the connection is open");
            let knows_all = || third.hub().cluster().nodes().len() == 3;
            eventually("the nodes know each other", || is_up(third.hub()) && knows_all()).await;
        }
        let mut trio = Self { nodes };
        trio.publish(1);
        eventually("the first messages arrive", || trio.have_all_arrived()).await;
        trio
    }

    /// Publishes this many messages on each node.
    pub(crate) fn publish(&mut self, count: u64) {
        for (at, third) in self.nodes.iter_mut().enumerate() {
            for _ in 0..count {
                let number = at as u64 * BLOCK + third.published;
                let message = Numbered { number, padding: String::new() };
                third.node.hub.try_to_room(ROOM, &message).expect("no backplane makes it fail");
                third.published += 1;
            }
        }
    }

    /// Publishes for a time, some 1,000 messages a second at each node.
    pub(crate) async fn publish_for(&mut self, time: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.publish(5);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether each client has every message.
    pub(crate) fn have_all_arrived(&self) -> bool {
        let published: u64 = self.nodes.iter().map(|third| third.published).sum();
        self.nodes.iter().all(|third| third.reader.len() as u64 == published)
    }

    /// Whether a client has every message of a node.
    pub(crate) fn has_all_of(&self, here: usize, there: usize) -> bool {
        self.nodes[here].numbers_of(there).len() as u64 == self.nodes[there].published
    }

    /// The next number of each node.
    pub(crate) fn next_numbers(&self) -> Vec<u64> {
        self.nodes.iter().map(|third| third.published).collect()
    }

    /// Whether each client has all messages from these numbers on, one number for each node.
    pub(crate) fn have_arrived_from(&self, numbers: &[u64]) -> bool {
        self.nodes.iter().all(|third| {
            self.nodes.iter().zip(numbers).enumerate().all(|(there, (other, first))| {
                let first = there as u64 * BLOCK + first;
                let arrived = third.numbers_of(there).into_iter().filter(|number| *number >= first);
                arrived.count() as u64 == there as u64 * BLOCK + other.published - first
            })
        })
    }

    pub(crate) fn are(&self, is: impl Fn(&Hub<Numbered>) -> bool) -> bool {
        self.nodes.iter().all(|third| is(third.hub()))
    }

    /// Waits until the sum is right at each node: `published = delivered + dropped + lost`, where
    /// `published` counts the two other nodes. Checks that each client got its messages once and in
    /// order, and all messages of its own node.
    pub(crate) async fn account_for(&mut self) {
        // Twice, because a sum that grows too far is right for a moment.
        for _ in 0..2 {
            self.publish(1);
            eventually("each message is accounted for", || {
                (0..3).all(|at| self.accounted(at) >= self.published_to(at))
            })
            .await;
            for at in 0..3 {
                assert_eq!(self.accounted(at), self.published_to(at), "{}", self.told());
            }
        }
        for (here, third) in self.nodes.iter().enumerate() {
            for (there, other) in self.nodes.iter().enumerate() {
                let numbers = third.numbers_of(there);
                assert!(numbers.is_sorted_by(|one, next| one < next), "in order, and once");
                let all = other.published as usize;
                assert!(here != there || numbers.len() == all, "members here miss nothing");
            }
        }
    }

    /// The number of messages that the two other nodes have published.
    fn published_to(&self, at: usize) -> u64 {
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != at);
        others.map(|(_, third)| third.published).sum()
    }

    /// The number of messages that were delivered at a node, lost by it, or dropped by the others.
    fn accounted(&self, at: usize) -> u64 {
        let others = (0..3).filter(|other| *other != at);
        let delivered = |other| self.nodes[at].numbers_of(other).len() as u64;
        let from = |other: usize| delivered(other) + self.nodes[other].health().dropped;
        others.map(from).sum::<u64>() + self.nodes[at].health().lost
    }

    pub(crate) fn lost(&self) -> u64 {
        self.nodes.iter().map(|third| third.health().lost).sum()
    }

    pub(crate) fn told(&self) -> String {
        let tell = |third: &Third| {
            let delivered = (0..3).map(|other| third.numbers_of(other).len());
            format!(
                "{:?} of {}, {:?}\n",
                delivered.collect::<Vec<_>>(),
                third.published,
                third.health()
            )
        };
        self.nodes.iter().map(tell).collect()
    }
}
