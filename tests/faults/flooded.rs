//! A server that floods one of its own rooms when it is told to.

use std::convert::Infallible;
use std::env;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use roomcast::{Hub, Overflow, Request, Response, Server as RoomcastServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::obedient::{Obedient, stats};
use crate::oracle::Line;
use crate::raise_descriptor_limit;
use crate::server::Server;

/// Set in the environment of the server's process.
const ROLE: &str = "ROOMCAST_FAULTS_FLOODED";

/// The room that is flooded.
pub(crate) const FLOOD: &str = "flood";

/// Bytes of a message of the flood, as JSON.
pub(crate) const MESSAGE_BYTES: usize = 128;

/// Starts such a server, with two worker threads.
pub(crate) async fn start() -> Server {
    let mut command = Command::new(env::current_exe().expect("a test knows its path"));
    command.args(["flooded", "--exact", "--ignored", "--nocapture", "--test-threads", "2"]);
    Server::start(command.env(ROLE, "1")).await
}

/// Has it flood by so many tasks from now on, in place of those before. The answer may take as long as
/// the flood makes it.
pub(crate) async fn flood(server: &Server, tasks: usize) {
    let mut stream = TcpStream::connect(server.addr()).await.expect("the server accepts");
    let request = format!(
        "GET /flood?{tasks} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
        server.addr()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("an answer");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

/// The server's process, where it is one. It ends by being killed.
pub(crate) async fn serve() {
    if env::var(ROLE).is_err() {
        return;
    }
    raise_descriptor_limit();
    // On a busy machine, members may read less than is sent: what is lost is told, and nobody goes.
    let builder = Hub::<Line>::builder().shards(2).overflow(Overflow::DropNewest);
    // Members only read.
    let hub = builder.ping_interval(Duration::ZERO).build().expect("in range");
    let floods = Floods { hub: hub.clone(), current: Arc::default() };
    let pages = service_fn({
        let hub = hub.clone();
        move |request: Request<_>| {
            let query = request.uri().query().unwrap_or_default();
            let answer = match request.uri().path() {
                "/flood" => floods.begin(query.parse().expect("a number of tasks")),
                _ => stats(&hub, query),
            };
            async move { Ok::<_, Infallible>(Response::new(Full::new(answer))) }
        }
    });
    let server = RoomcastServer::bind("127.0.0.1:0").await.expect("a free port");
    let server = server.route("/ws/{room}", hub.handle(Obedient)).expect("a path");
    println!("\nlistening on http://{}", server.local_addr().expect("an address"));
    server.fallback(pages).run().await;
}

struct Floods {
    hub: Hub<Line>,
    /// The number of the flood under way; tasks of another end.
    current: Arc<AtomicUsize>,
}

impl Floods {
    fn begin(&self, tasks: usize) -> Bytes {
        let number = self.current.fetch_add(1, Ordering::Relaxed) + 1;
        for _ in 0..tasks {
            tokio::spawn(flood_room(self.hub.clone(), self.current.clone(), number));
        }
        Bytes::new()
    }
}

/// As fast as the hub lets it.
async fn flood_room(hub: Hub<Line>, current: Arc<AtomicUsize>, number: usize) {
    let line = message();
    while current.load(Ordering::Relaxed) == number && hub.to_room_wait(FLOOD, &line).await.is_ok()
    {
    }
}

fn message() -> Line {
    let mut line = Line { text: String::new(), user: format!("{FLOOD}/task"), seq: 0, ts: 0.0 };
    let bytes = serde_json::to_string(&line).expect("JSON").len();
    line.text = "x".repeat(MESSAGE_BYTES - bytes);
    line
}
