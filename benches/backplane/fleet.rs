//! The nodes of a cell and their clients: starts them, loads them in a closed loop, and measures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Result;
use crate::clients::{self, CHUNKS_MAX, Tally};
use crate::counts::{Counts, Trouble};
use crate::node::{Request, Start};
use crate::plan::{CHUNK, Cell, WINDOW};
use shared::process::{self, Peer};
use support::servers::RedisServer;

/// If no chunk completes for this time, the missing deliveries count as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// The chunks that each node publishes before the measurement.
const WARM_UP: u64 = 2 * WINDOW;

/// The bounds of a run; the first that is reached ends the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The messages of all nodes together.
    pub(crate) messages: u64,
    pub(crate) time: Duration,
}

/// The result of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) cell: Cell,
    pub(crate) messages: u64,
    pub(crate) deliveries: u64,
    pub(crate) elapsed: Duration,
    pub(crate) spent: Spent,
    /// The failures that the nodes have counted since their start.
    pub(crate) trouble: Trouble,
    /// Deliveries that never arrived.
    pub(crate) missing: u64,
    /// Deliveries that should not have arrived.
    pub(crate) wrong: u64,
}

impl Measured {
    /// Whether each message has arrived once and in order, and no node has counted a failure.
    pub(crate) fn is_whole(&self) -> bool {
        (self.missing, self.wrong, self.trouble) == (0, 0, Trouble::default())
    }
}

/// CPU time, traffic and counters, since the start or between two points in time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) nodes: Duration,
    pub(crate) redis: Duration,
    pub(crate) redis_bytes_in: u64,
    pub(crate) redis_bytes_out: u64,
    pub(crate) counts: Counts,
}

impl Spent {
    fn since(self, before: Self) -> Self {
        Self {
            nodes: self.nodes - before.nodes,
            redis: self.redis - before.redis,
            redis_bytes_in: self.redis_bytes_in - before.redis_bytes_in,
            redis_bytes_out: self.redis_bytes_out - before.redis_bytes_out,
            counts: self.counts - before.counts,
        }
    }
}

/// The nodes of a cell. Dropping the fleet ends the nodes.
pub(crate) struct Fleet<'a> {
    cell: Cell,
    redis: &'a RedisServer,
    peers: Vec<Peer>,
    tally: Arc<Tally>,
    _reading: JoinSet<()>,
    /// The number of clients in each room.
    members: Vec<u64>,
    /// The number of chunks that are complete.
    done: u64,
}

impl<'a> Fleet<'a> {
    /// Starts the nodes, waits until they know each other, and connects their clients. No other fleet may use the
    /// channel.
    pub(crate) async fn start(cell: Cell, redis: &'a RedisServer, channel: String) -> Result<Self> {
        let Cell { setting, nodes, is_apart } = cell;
        let (mut peers, mut addrs) = (Vec::new(), Vec::new());
        let all: Vec<usize> = (0..nodes).collect();
        for nodes in all.chunks(if is_apart { 1 } else { nodes }) {
            let mut peer = Peer::start(&["nodes".to_owned()])?;
            let (url, channel, nodes) = (redis.url(), channel.clone(), nodes.to_vec());
            let start = Request::Start(Start { url, channel, setting, nodes });
            addrs.extend(peer.ask::<Vec<SocketAddr>>(&start)?);
            peers.push(peer);
        }
        for peer in &mut peers {
            peer.ask::<()>(&Request::Meet(nodes))?;
        }
        let tally = Arc::new(Tally::new());
        let reading = clients::connect(setting, &addrs, &tally).await?;
        let members = clients::members(setting, nodes);
        Ok(Self { cell, redis, peers, tally, _reading: reading, members, done: 0 })
    }

    /// Warms up, then measures from the first message to the last delivery.
    pub(crate) async fn measure(&mut self, bounds: Bounds) -> Result<Measured> {
        let missing_before = self.load(WARM_UP, Duration::MAX).await?;
        let (before, first) = (self.spent()?, self.done);
        let chunk_messages = CHUNK * self.cell.nodes as u64;
        let chunks = (bounds.messages / chunk_messages).clamp(1, CHUNKS_MAX as u64 - first);
        let began = Instant::now();
        let missing = self.load(chunks, bounds.time).await?;
        let (elapsed, after) = (began.elapsed(), self.spent()?);
        Ok(Measured {
            cell: self.cell,
            messages: (self.done - first) * chunk_messages,
            deliveries: self.tally.received(first..self.done),
            elapsed,
            spent: after.since(before),
            trouble: after.counts.trouble,
            missing: missing_before + missing,
            wrong: self.tally.wrong.load(Ordering::Relaxed),
        })
    }

    /// Lets all nodes publish this many chunks, or fewer if the time ends first, and waits until all messages
    /// have been delivered. Returns the number of deliveries that never arrived.
    async fn load(&mut self, chunks: u64, time: Duration) -> Result<u64> {
        let began = Instant::now();
        let end = self.done + chunks;
        let (mut granted, mut missing) = (self.done, 0);
        loop {
            let goal = end.min(self.done + WINDOW);
            if granted < goal && began.elapsed() < time {
                self.grant(granted..goal)?;
                granted = goal;
            }
            while self.done < granted && self.tally.missing(self.done) == 0 {
                self.done += 1;
            }
            let is_over = granted == end || began.elapsed() >= time;
            if self.done == granted && is_over {
                return Ok(missing);
            }
            if self.done < granted && timeout(PATIENCE, self.tally.news.notified()).await.is_err() {
                missing = (self.done..granted).map(|chunk| self.tally.missing(chunk)).sum();
                self.done = granted;
                return Ok(missing);
            }
        }
    }

    fn grant(&mut self, chunks: std::ops::Range<u64>) -> Result<()> {
        let Cell { setting, nodes, .. } = self.cell;
        for chunk in chunks.clone() {
            let deliveries = clients::deliveries(setting, nodes, &self.members, chunk);
            self.tally.expect(chunk, deliveries);
        }
        self.peers.iter_mut().try_for_each(|peer| peer.send(&Request::Publish(chunks.end)))
    }

    fn spent(&mut self) -> Result<Spent> {
        let counts = self.peers.iter_mut().map(|peer| peer.ask::<Counts>(&Request::Count));
        let counts = counts.collect::<Result<Vec<_>>>()?;
        let nodes = self.peers.iter().map(|peer| process::cpu_time(peer.pid()));
        let of_redis = |field: &str| -> Result<u64> {
            let value = self.redis.info(field).ok_or("a field of INFO is missing")?;
            Ok(value.trim().parse()?)
        };
        Ok(Spent {
            nodes: nodes.sum::<Result<Duration>>()?,
            redis: process::cpu_time(of_redis("process_id")? as u32)?,
            redis_bytes_in: of_redis("total_net_input_bytes")?,
            redis_bytes_out: of_redis("total_net_output_bytes")?,
            counts: counts.into_iter().sum(),
        })
    }
}
