//! The plan of the scene "growth": rooms, channels, nodes, and the members of each room. Each process computes the
//! same plan from the numbers of nodes and messages alone.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The messages of a chunk: a node publishes one chunk at a time. A chunk is complete when all of its deliveries have
/// arrived.
pub(crate) const CHUNK: u64 = 1_024;

/// The most incomplete chunks of a node: 4,096 messages, a sixteenth of the outbox. With sixteen nodes at most 65,536
/// messages are in transit. A node's queue of arriving envelopes holds as many envelopes. The messages take some 10 MB,
/// a third of the buffer that Redis keeps for a subscriber.
pub(crate) const WINDOW: u64 = 4;

/// The WebSocket clients of a node. They share the rooms of the node, so each of these rooms has one member there.
pub(crate) const CLIENTS: usize = 4;

/// A node has members in one room of this many.
const ONE_ROOM_IN: usize = 10;

/// The messages of node `n` are numbered from `n * NUMBERS`.
const NUMBERS: u64 = 1_000_000_000_000;

/// The number of rooms of all nodes, and the number of channels that carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) rooms: usize,
    pub(crate) channels: u16,
}

impl Setting {
    /// The rooms with members on a node, in random order: a tenth of all rooms.
    pub(crate) fn rooms_of(self, node: usize) -> Vec<usize> {
        let mut rooms: Vec<usize> = (0..self.rooms).collect();
        fastrand::Rng::with_seed(node as u64).shuffle(&mut rooms);
        rooms.truncate(self.rooms / ONE_ROOM_IN);
        rooms
    }

    /// The rooms that one client of a node is in.
    pub(crate) fn rooms_of_client(self, node: usize, client: usize) -> Vec<usize> {
        self.rooms_of(node).into_iter().skip(client).step_by(CLIENTS).collect()
    }

    /// The room that a node's message goes to.
    pub(crate) fn room_of(self, message: Number) -> usize {
        (mixed(message.joined()) % self.rooms as u64) as usize
    }
}

/// The name of a room.
pub(crate) fn room_name(room: usize) -> String {
    format!("room-{room}")
}

/// SplitMix64: maps consecutive numbers to unrelated ones.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The identity of a message: its publisher, and how many messages the publisher sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) node: usize,
    pub(crate) index: u64,
}

impl Number {
    /// The number that the message contains.
    pub(crate) fn joined(self) -> u64 {
        self.node as u64 * NUMBERS + self.index
    }

    pub(crate) fn part(joined: u64) -> Self {
        Self { node: (joined / NUMBERS) as usize, index: joined % NUMBERS }
    }

    pub(crate) fn chunk(self) -> u64 {
        self.index / CHUNK
    }
}

/// One case that is measured: a setting with a number of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) setting: Setting,
    pub(crate) nodes: usize,
    /// Whether each node has a process of its own.
    pub(crate) is_apart: bool,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting: Setting { rooms, channels }, nodes, is_apart } = self;
        let form = if *is_apart { "as processes" } else { "in one process" };
        write!(f, "{nodes} nodes {form}, {rooms} rooms, channels({channels})")
    }
}

/// All cells, ordered by processes, then by setting, then by nodes. `is_short` selects the cells of a smoke test.
pub(crate) fn cells(nodes: &[usize], is_short: bool) -> Vec<Cell> {
    let settings = [(10_000, 1), (10_000, 64), (10_000, 4_096), (100, 1), (100, 64)];
    let [apart, together] = if is_short { [2, 1] } else { [settings.len(); 2] };
    let mut cells = Vec::new();
    for (is_apart, count) in [(true, apart), (false, together)] {
        for &(rooms, channels) in &settings[..count] {
            let setting = Setting { rooms, channels };
            cells.extend(nodes.iter().map(|&nodes| Cell { setting, nodes, is_apart }));
        }
    }
    cells
}
