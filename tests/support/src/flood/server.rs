//! A server that floods one of its own rooms on command.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::service::service_fn;
use roomcast::{Close, Conn, Handler, Hub, Overflow, Request, Response, Server};

use super::pages::{Counts, FLOOD_PAGE};
use super::{FLOOD, Message, QUIET, Result};

/// Serves with this many shards until the process ends.
pub async fn serve(server: Server, shards: usize) -> Result<()> {
    // On a busy machine members may read too slowly. The hub then counts dropped messages, and evicts no member.
    let builder = Hub::<Message>::builder().shards(shards).overflow(Overflow::DropNewest);
    // Members only read, so they would not answer pings.
    let hub = builder.ping_interval(Duration::ZERO).build()?;
    let floods = Floods { hub: hub.clone(), current: Arc::default() };
    let pages = service_fn(move |request: Request<_>| {
        let answer = floods.answer(request.uri().path(), request.uri().query());
        async move { Ok::<_, Infallible>(Response::new(Full::from(answer))) }
    });
    server.route("/ws/{room}", hub.handle(Relay))?.fallback(pages).run().await;
    Ok(())
}

/// Joins each connection to the room of its route, and publishes its messages to this room.
struct Relay;

impl Handler<Message> for Relay {
    async fn on_connect(&self, conn: &Conn<Message>) -> Result<(), Close> {
        Ok(conn.try_join(room(conn))?)
    }

    async fn on_message(&self, conn: &Conn<Message>, message: Message) -> Result<(), Close> {
        // Fails only when the hub is closed.
        let _ = conn.hub().to_room(room(conn), &message).await;
        Ok(())
    }
}

fn room(conn: &Conn<Message>) -> &str {
    conn.try_param("room").unwrap_or(QUIET)
}

struct Floods {
    hub: Hub<Message>,
    /// The number of the current flood. Tasks of an earlier flood end.
    current: Arc<AtomicUsize>,
}

impl Floods {
    fn answer(&self, path: &str, query: Option<&str>) -> String {
        match (path, query.map(str::parse)) {
            (FLOOD_PAGE, Some(Ok(tasks))) => {
                self.begin(tasks);
                String::new()
            }
            _ => serde_json::to_string(&self.counts()).unwrap_or_default(),
        }
    }

    fn begin(&self, tasks: usize) {
        let number = self.current.fetch_add(1, Ordering::Relaxed) + 1;
        for _ in 0..tasks {
            tokio::spawn(flood_room(self.hub.clone(), self.current.clone(), number));
        }
    }

    fn counts(&self) -> Counts {
        let stats = self.hub.stats();
        Counts {
            connections: stats.connections,
            members: self.hub.member_count(FLOOD),
            quiet: self.hub.member_count(QUIET),
            dropped: stats.dropped(),
        }
    }
}

/// Publishes as fast as the hub allows.
async fn flood_room(hub: Hub<Message>, current: Arc<AtomicUsize>, number: usize) {
    let message = Message::padded();
    while current.load(Ordering::Relaxed) == number && hub.to_room(FLOOD, &message).await.is_ok() {}
}
