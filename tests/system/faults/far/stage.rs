//! The stage of the scenes: a network with a chat on one side and members on the other.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::member::{End, Heard, Listening, connect};
use super::publisher::{Flow, Publisher};
use crate::raise_descriptor_limit;
use support::network::namespaces::SERVER;
use support::network::relay::Lateness;
use support::network::{Network, Profile};
use support::programs::example;
use support::scene::server::{ANY_RATE, DEADLINE, Server};

/// The lateness of the relay above which the test prints a note.
const LATENESS_MAX: Duration = Duration::from_millis(1);

/// A network with a chat.
pub(super) struct Stage {
    pub(super) network: Arc<Network>,
    pub(super) server: Server,
}

impl Stage {
    /// Plays a scene in the server's namespace, with a link for each profile. Returns `None` if this
    /// machine does not allow such a network.
    pub(super) fn play<T, S>(
        profiles: &[Profile],
        scene: impl FnOnce(Self) -> S + Send + 'static,
    ) -> Option<T>
    where
        S: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        raise_descriptor_limit();
        let network = Arc::new(Network::lay_or_skip(profiles)?);
        let stage = network.clone();
        let scene = network.server.spawn(async move {
            let mut command = Command::new(example("load_server"));
            command.args(["--listen", "0.0.0.0:0"]).args(ANY_RATE);
            let server = Server::start(&mut command).await;
            scene(Self { network: stage, server }).await
        });
        let waiting = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let outcome = match waiting.block_on(scene) {
            Ok(outcome) => outcome,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let network = Arc::into_inner(network).expect("the scene is over");
        tell(&network.end());
        Some(outcome)
    }

    /// The server's address for the far members.
    pub(super) fn addr(&self) -> SocketAddr {
        (SERVER, self.server.addr().port()).into()
    }

    /// Starts a member at the end of each of these links. Returns when all have joined.
    pub(super) async fn gather(
        &self,
        links: std::ops::Range<usize>,
        listening: Listening,
    ) -> Vec<JoinHandle<Heard>> {
        let members = self.server.stats("room").await.members + links.len();
        let addr = self.addr();
        let gathered = links.map(|link| {
            self.network.clients.spawn(async move {
                let mut client = connect(addr, link, None).await;
                listening.hear(&mut client).await
            })
        });
        let gathered = gathered.collect();
        self.joined(members).await;
        gathered
    }

    /// Waits until the room has this many members.
    pub(super) async fn joined(&self, members: usize) {
        self.server.eventually("room", "all have joined", |stats| stats.members == members).await;
    }
}

/// The lines that each member has received.
pub(super) async fn all_of(members: Vec<JoinHandle<Heard>>) -> Vec<Heard> {
    let mut heard = Vec::new();
    for member in members {
        heard.push(member.await.expect("a member does not panic"));
    }
    heard
}

/// Prints a note if the links were slower than planned.
fn tell(lateness: &Lateness) {
    let late = Duration::from_micros(lateness.value_at_quantile(0.99));
    if late > LATENESS_MAX {
        println!("this machine is busy: the relay was {late:?} late, at the 99th percentile");
    }
}

/// The result of a room behind links.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) members: Vec<Heard>,
    lines: u64,
    pub(super) evictions: u64,
    /// The largest growth of the server's memory, in KiB.
    pub(super) grown: u64,
    began: Instant,
}

impl Report {
    /// Sends lines to a room with a member behind each link.
    pub(super) fn of(profiles: &[Profile], flow: Flow) -> Option<Self> {
        let members = profiles.len();
        Stage::play(profiles, move |stage| async move { stage.tell_all(members, flow).await })
    }

    /// Whether no member was evicted, and each received all lines in order.
    pub(super) fn is_whole(&self) -> bool {
        self.evictions == 0
            && self.members.iter().all(|heard| heard.in_order && heard.end == End::Complete)
    }

    /// The time from the first line until the last line reached the last member.
    pub(super) fn took(&self) -> Duration {
        let last = self.members.iter().map(|heard| heard.last_at).max();
        last.map_or(Duration::ZERO, |last| last - self.began)
    }

    /// The cells of a table: evictions, missed lines, the time until the last line, the memory.
    pub(super) fn cells(&self) -> String {
        let lost: u64 = self.members.iter().map(|heard| self.lines - heard.lines).sum();
        let mut cells = format!("{} of {}", self.evictions, self.members.len());
        let _ = write!(cells, " | {lost} | {:.2} s", self.took().as_secs_f64());
        let longest = self.members.iter().map(|heard| heard.longest).max().unwrap_or_default();
        let _ = write!(cells, " | {:.2} s", longest.as_secs_f64());
        let mut ends: Vec<String> =
            self.members.iter().map(|heard| heard.end.to_string()).collect();
        ends.sort_unstable();
        ends.dedup();
        let order = if self.members.iter().all(|heard| heard.in_order) { "" } else { ", disorder" };
        let _ =
            write!(cells, " | {}{order} | {:.1} MiB", ends.join(", "), self.grown as f64 / 1024.0);
        cells
    }

    /// The head of a table of [`Self::cells`], with other columns in front.
    pub(super) fn head(columns: &str) -> String {
        let own = columns.split('|').count();
        format!(
            "| {columns} | evicted | lines missed | all over after | longest way of a line | ends | \
             memory |\n|{}---:|---:|---:|---:|---|---:|",
            "---|".repeat(own)
        )
    }
}

impl Stage {
    async fn tell_all(self, members: usize, flow: Flow) -> Report {
        let began = Instant::now();
        let listening = Listening::to(flow.lines, began, began + flow.over + DEADLINE);
        let heard = self.gather(0..members, listening).await;
        let publisher = Publisher::enter(self.server.addr(), listening).await;
        self.joined(members + 1).await;
        let resident = self.server.resident();
        let began = Instant::now();
        let publishing = tokio::spawn(publisher.say(flow));
        let members = all_of(heard).await;
        publishing.await.expect("the publisher does not panic");
        let stats = self.server.stats("room").await;
        Report {
            members,
            lines: flow.lines as u64,
            evictions: stats.hub.evictions(),
            grown: self.server.resident_peak().saturating_sub(resident),
            began,
        }
    }
}
