//! A node of a chat: the example `load_server`, on a port that it keeps after a restart.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use support::programs::{Chat, example};
use support::servers::RedisServer;
use support::servers::ports::free_port;
use support::within;

/// The seconds for which a node reports that it is not ready before it closes: two health checks, and a second more.
pub(crate) const NOT_READY_SECONDS: u64 = 2;

const END_DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Node {
    redis: String,
    chat: Chat,
}

impl Node {
    pub(crate) fn start(redis: &RedisServer) -> Self {
        let redis = redis.url();
        let chat = run(SocketAddr::from(([127, 0, 0, 1], free_port())), &redis);
        Self { redis, chat }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.chat.addr
    }

    /// Ends the node as a service manager does, and starts it again. Returns how long the node took to end.
    pub(crate) async fn restart(&mut self) -> Duration {
        let began = Instant::now();
        kill(Pid::from_raw(self.chat.process.0.id() as i32), Signal::SIGTERM)
            .expect("the process runs");
        while self.chat.process.0.try_wait().expect("a child of ours").is_none() {
            assert!(began.elapsed() < END_DEADLINE, "the node does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let took = began.elapsed();
        self.chat = run(self.addr(), &self.redis);
        self.is_up().await;
        took
    }

    /// Waits until the node is ready and its backplane is up.
    pub(crate) async fn is_up(&self) {
        within("the node is up", async {
            while !self.health().await.contains(r#""state":"up""#) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    pub(crate) async fn health(&self) -> String {
        let mut stream = TcpStream::connect(self.addr()).await.expect("the server listens");
        let request = b"GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.expect("sent");
        let mut response = String::new();
        stream.read_to_string(&mut response).await.expect("a response");
        response
    }

    pub(crate) async fn connections(&self) -> u64 {
        let health = self.health().await;
        let (_, body) = health.split_once("\r\n\r\n").expect("a body");
        let health: serde_json::Value = serde_json::from_str(body).expect("JSON");
        health["connections"].as_u64().expect("a number")
    }
}

fn run(addr: SocketAddr, redis: &str) -> Chat {
    let mut command = Command::new(example("load_server"));
    command.args(["--listen", &addr.to_string(), "--redis", redis]);
    command.args(["--message-rate", "0", "--byte-rate", "0", "--shutdown-seconds", "8"]);
    command.args(["--not-ready-seconds", &NOT_READY_SECONDS.to_string()]);
    Chat::start(&mut command).expect("the chat starts")
}
