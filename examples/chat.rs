//! A chat in memory with its web page. The path of the WebSocket names the room: `/ws/tea`.
//!
//! Run `cargo run --release --example chat` and open <http://127.0.0.1:8080> in two tabs. The environment variable
//! `LISTEN` sets another address.

use std::{convert::Infallible, env, error::Error, time::Duration};

use hyper::{body::Incoming, service::service_fn};
use roomcast::{Hub, Request, Response, Server, StatusCode, header, shutdown_signal};
use serde::{Deserialize, Serialize};

/// A message, in both directions. The page sets `user` (not checked), `seq` (its own count of messages) and `ts` (its
/// clock, in milliseconds since 1970).
#[derive(Serialize, Deserialize)]
struct Message {
    text: String,
    user: Option<String>,
    seq: u64,
    ts: f64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stop = shutdown_signal();
    let hub = Hub::<Message>::new();
    let chat = hub
        .handlers()
        .on_connect(async |conn| {
            conn.join(conn.param("room")).await?;
            Ok(())
        })
        .on_message(async |conn, message| {
            conn.hub().to_room(conn.param("room"), &message).await?;
            Ok(())
        });
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let pages = service_fn(async |request| Ok::<_, Infallible>(page(&request)));
    let server = Server::bind(listen).await?.route("/ws/{room}", hub.handle(chat))?.fallback(pages);
    println!("listening on http://{}", server.local_addr()?);
    println!("{}", server.run_until(stop, Duration::from_secs(10)).await);
    Ok(())
}

fn page(request: &Request<Incoming>) -> Response {
    let (status, kind, text) = match request.uri().path() {
        "/" => (StatusCode::OK, "text/html; charset=utf-8", include_str!("chat.html")),
        "/roomcast.js" => (StatusCode::OK, "text/javascript", include_str!("roomcast.js")),
        _ => (StatusCode::NOT_FOUND, "text/plain", "not found"),
    };
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
    response.body(text.into()).expect("the status and the header are valid")
}
