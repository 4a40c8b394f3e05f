//! What is measured: rooms, channels and nodes; and who is a member of what. Every process computes
//! the same from the numbers of nodes and messages alone.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Messages that each node publishes at a time. A chunk is complete when all its deliveries are.
pub(crate) const CHUNK: u64 = 1_024;

/// Chunks of each node that may be under way: 4,096 messages, a sixteenth of the outage queue. With
/// sixteen nodes 65,536 messages are under way in all: as many as a node's queue of what arrives holds
/// envelopes, and some 10 MB, a third of what Redis keeps for a subscriber.
pub(crate) const WINDOW: u64 = 4;

/// WebSocket clients of a node, who share its rooms: a room has one member on a node that has it.
pub(crate) const CLIENTS: usize = 4;

/// A node has members in one of so many rooms.
const ONE_ROOM_IN: usize = 10;

/// Messages of a node are numbered from this times its own number.
const NUMBERS: u64 = 1_000_000_000_000;

/// The rooms of all nodes, and the channels that they are spread over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) rooms: usize,
    pub(crate) channels: u16,
}

impl Setting {
    /// The rooms of which a node has members, in no order: a tenth of all.
    pub(crate) fn rooms_of(self, node: usize) -> Vec<usize> {
        let mut rooms: Vec<usize> = (0..self.rooms).collect();
        fastrand::Rng::with_seed(node as u64).shuffle(&mut rooms);
        rooms.truncate(self.rooms / ONE_ROOM_IN);
        rooms
    }

    /// Those of them that one of a node's clients is in.
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

/// SplitMix64: numbers that follow each other go anywhere.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A message, by its publisher and by how many came from there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) node: usize,
    pub(crate) index: u64,
}

impl Number {
    /// As the message has it.
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

/// A setting with a number of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) setting: Setting,
    pub(crate) nodes: usize,
    /// Whether each node is a process, or all are in one.
    pub(crate) is_apart: bool,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting: Setting { rooms, channels }, nodes, is_apart } = self;
        let form = if *is_apart { "as processes" } else { "in one process" };
        write!(f, "{nodes} nodes {form}, {rooms} rooms, channels({channels})")
    }
}

/// All cells, by form, then by setting, then by nodes. The short ones are what a smoke test needs.
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
