//! A load server in its own process, and its state as seen from outside.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::programs::{Chat, example};

/// The timeout of all waits, far above the time that a busy machine needs.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Switches the rate limits of the load server off.
pub const ANY_RATE: &[&str] = &["--message-rate", "0", "--byte-rate", "0"];

/// The counters of `/stats`. A counter that a server does not report is zero.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Stats {
    pub members: usize,
    pub hub: roomcast::Stats,
    pub server: roomcast::ServerStats,
}

/// A server and its process.
pub struct Server {
    chat: Chat,
    descriptors_at_start: usize,
}

impl Server {
    /// The load server, with these arguments.
    pub async fn chat(arguments: &[&str]) -> Self {
        let mut command = Command::new(example("load_server"));
        Self::start(command.args(["--listen", "127.0.0.1:0"]).args(arguments)).await
    }

    /// Starts a command that prints its address, and serves `/stats`.
    pub async fn start(command: &mut Command) -> Self {
        let chat = Chat::start(command).expect("the server starts");
        let mut server = Self { chat, descriptors_at_start: 0 };
        server.eventually("", "it serves", |stats| stats.hub.connections == 0).await;
        server.descriptors_at_start = server.settled_descriptors();
        server
    }

    pub fn addr(&self) -> SocketAddr {
        self.chat.addr
    }

    pub fn pid(&self) -> u32 {
        self.chat.process.0.id()
    }

    /// The counters, with the members of a room.
    pub async fn stats(&self, room: &str) -> Stats {
        let mut stream = TcpStream::connect(self.addr()).await.expect("the server accepts");
        let request = format!(
            "GET /stats?room={room} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.addr()
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut response = String::new();
        stream.read_to_string(&mut response).await.expect("an answer");
        let body = response.split_once("\r\n\r\n").expect("a head and a body").1;
        simd_json::from_slice(&mut body.as_bytes().to_vec()).expect("JSON")
    }

    /// Waits until the counters satisfy the condition.
    pub async fn eventually(
        &self,
        room: &str,
        what: &str,
        holds: impl Fn(&Stats) -> bool,
    ) -> Stats {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let stats = self.stats(room).await;
            if holds(&stats) {
                return stats;
            }
            assert!(Instant::now() < deadline, "not in time: {what}; {stats:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The invariant of all scenes: when all clients are gone, the server holds nothing of them.
    pub async fn nothing_is_left(&self) -> Stats {
        let stats = self
            .eventually("", "no connection and no room is left", |stats| {
                (stats.hub.connections, stats.hub.rooms, stats.members) == (0, 0, 0)
            })
            .await;
        self.descriptors_fall_to(0).await;
        stats
    }

    /// Waits until the server has this many more descriptors than at its start.
    pub async fn descriptors_fall_to(&self, more: usize) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = self.descriptors().saturating_sub(self.descriptors_at_start);
            if left <= more {
                return;
            }
            assert!(Instant::now() < deadline, "{left} descriptors are left, not {more}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn descriptors(&self) -> usize {
        let folder = self.proc("fd");
        // Since Linux 6.2 the folder's size is the number of descriptors. Before, the size is zero, and the test must
        // read the folder, which is slow.
        match fs::metadata(&folder).expect("the process runs, on Linux").len() {
            0 => fs::read_dir(&folder).expect("the process runs, on Linux").count(),
            descriptors => descriptors as usize,
        }
    }

    /// The smallest of several counts, because the connection that requested the counters may still be open.
    fn settled_descriptors(&self) -> usize {
        let count = |_| {
            std::thread::sleep(Duration::from_millis(2));
            self.descriptors()
        };
        (0..10).map(count).min().expect("there are ten counts")
    }

    /// User and system time so far.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).expect("the process runs, on Linux");
        let after_name = stat.rsplit_once(')').expect("a name in parentheses").1;
        let fields = after_name.split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.map(|field| field.parse::<u64>().expect("a number")).sum();
        // Linux reports these times in hundredths of a second, whatever the rate of its timer.
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in KiB.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS")
    }

    /// The peak of resident memory, in KiB.
    pub fn resident_peak(&self) -> u64 {
        self.memory("VmHWM")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("the process runs, on Linux");
        let line = status.lines().find(|line| line.starts_with(field)).expect("a field");
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid())
    }
}
