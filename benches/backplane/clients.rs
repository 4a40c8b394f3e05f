//! The WebSocket clients of all nodes. They check the messages that they receive, and count them by chunk.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::Result;
use crate::frames::{FrameReader, number_of};
use crate::plan::{CHUNK, CLIENTS, Number, Setting};
use support::RawClient;

/// The most chunks of a run: 16 million messages for each node.
pub(crate) const CHUNKS_MAX: usize = 16_384;

/// The number of deliveries of each chunk, from all publishers to all clients.
pub(crate) struct Tally {
    /// Set before the chunk is published.
    expected: Box<[AtomicU64]>,
    received: Box<[AtomicU64]>,
    /// Messages that came twice, out of order within their room, or to a client that is not in the room.
    pub(crate) wrong: AtomicU64,
    /// Notified when a chunk is complete.
    pub(crate) news: Notify,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let zeros = || (0..CHUNKS_MAX).map(|_| AtomicU64::new(0)).collect();
        Self { expected: zeros(), received: zeros(), wrong: AtomicU64::new(0), news: Notify::new() }
    }

    pub(crate) fn expect(&self, chunk: u64, deliveries: u64) {
        self.expected[chunk as usize].store(deliveries, Ordering::Relaxed);
    }

    fn receive(&self, chunk: u64) {
        let chunk = chunk as usize;
        let received = 1 + self.received[chunk].fetch_add(1, Ordering::Relaxed);
        if received == self.expected[chunk].load(Ordering::Relaxed) {
            self.news.notify_one();
        }
    }

    /// The number of deliveries of a chunk that have not arrived.
    pub(crate) fn missing(&self, chunk: u64) -> u64 {
        let chunk = chunk as usize;
        let expected = self.expected[chunk].load(Ordering::Relaxed);
        expected.saturating_sub(self.received[chunk].load(Ordering::Relaxed))
    }

    /// The number of deliveries of some chunks.
    pub(crate) fn received(&self, chunks: std::ops::Range<u64>) -> u64 {
        let chunks = chunks.start as usize..chunks.end as usize;
        self.received[chunks].iter().map(|chunk| chunk.load(Ordering::Relaxed)).sum()
    }
}

/// The number of clients in each room, on all nodes together.
pub(crate) fn members(setting: Setting, nodes: usize) -> Vec<u64> {
    let mut members = vec![0; setting.rooms];
    for room in (0..nodes).flat_map(|node| setting.rooms_of(node)) {
        members[room] += 1;
    }
    members
}

/// The number of deliveries that one chunk of each node causes.
pub(crate) fn deliveries(setting: Setting, nodes: usize, members: &[u64], chunk: u64) -> u64 {
    let of_node = |node| {
        let numbers = (chunk * CHUNK..(chunk + 1) * CHUNK).map(move |index| Number { node, index });
        numbers.map(|number| members[setting.room_of(number)]).sum::<u64>()
    };
    (0..nodes).map(of_node).sum()
}

/// Connects the clients of all nodes, one after another, and starts their readers.
pub(crate) async fn connect(
    setting: Setting,
    nodes: &[SocketAddr],
    tally: &Arc<Tally>,
) -> Result<JoinSet<()>> {
    let mut reading = JoinSet::new();
    for (node, &addr) in nodes.iter().enumerate() {
        for client in 0..CLIENTS {
            let mut connection = RawClient::connect(addr).await;
            // The first frame comes when the client has joined its rooms.
            connection.read_frame().await.ok_or("a node has refused a client")?;
            let seen = Seen::new(setting, nodes.len(), &setting.rooms_of_client(node, client));
            reading.spawn(read(connection, setting, seen, tally.clone()));
        }
    }
    Ok(reading)
}

async fn read(mut connection: RawClient, setting: Setting, mut seen: Seen, tally: Arc<Tally>) {
    let mut frames = FrameReader::new(&mut connection);
    while let Some(frame) = frames.try_next().await {
        let number = Number::part(number_of(frame));
        match seen.take(number, setting.room_of(number)) {
            true => tally.receive(number.chunk()),
            false => _ = tally.wrong.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// The messages that a client has received from each publisher in each of its rooms.
struct Seen {
    /// By room: the index in `next` of the room's first publisher; `None` for a room that the client is not in.
    places: Vec<Option<usize>>,
    /// The lowest message index that is allowed next.
    next: Vec<u64>,
}

impl Seen {
    fn new(setting: Setting, nodes: usize, rooms: &[usize]) -> Self {
        let mut places = vec![None; setting.rooms];
        rooms.iter().enumerate().for_each(|(at, &room)| places[room] = Some(at * nodes));
        Self { places, next: vec![0; rooms.len() * nodes] }
    }

    /// Records a message. Returns whether the message is neither repeated, nor out of order, nor for another room.
    fn take(&mut self, number: Number, room: usize) -> bool {
        let Some(place) = self.places[room] else { return false };
        let next = &mut self.next[place + number.node];
        let is_next = number.index >= *next;
        *next = number.index + 1;
        is_next
    }
}
