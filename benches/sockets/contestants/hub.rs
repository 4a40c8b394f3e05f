//! The contestants that are roomcast itself.

use std::net::TcpListener;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::routing::get;
use roomcast::{
    Builder, Close, Compression, Conn, Handler, Hub, HubUpgrade, Json, Overflow, Raw, RawMessage,
    Server, Stats, Tls,
};
use serde::{Deserialize, Serialize};

use super::HOUR;
use crate::Result;
use crate::feed::Feed;
use crate::requests::{HubCounts, HubRequest};
use crate::stream::identity_files;
use crate::wire::AUTHORIZATION;
use shared::process;
use support::flood;

/// The settings that differ from the defaults.
pub(crate) struct Settings {
    pub(crate) shards: usize,
    /// The most connections.
    pub(crate) connections: Option<usize>,
    /// Zero: no pings.
    pub(crate) ping_interval: Duration,
    /// Whether a slow client loses new messages instead of its connection.
    pub(crate) is_lossy: bool,
    pub(crate) is_tls: bool,
    pub(crate) may_use_io_uring: bool,
    pub(crate) has_shard_threads: bool,
    pub(crate) compression: Option<Compression>,
}

/// The message of the contestants that decode and encode JSON.
#[derive(Serialize, Deserialize)]
struct Message {
    at: u64,
    entries: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    id: u64,
    user: String,
    price: String,
    text: String,
}

struct Relay;

impl<T: Send + Sync + 'static> Handler<T> for Relay {
    async fn on_connect(&self, conn: &Conn<T>) -> Result<(), Close> {
        Ok(conn.try_join(room(conn))?)
    }

    async fn on_message(&self, conn: &Conn<T>, message: T) -> Result<(), Close> {
        // Fails only when the hub is closed.
        let _ = conn.hub().to_room(room(conn), &message).await;
        Ok(())
    }
}

fn room<T: Send + 'static>(conn: &Conn<T>) -> &str {
    conn.try_param("room").unwrap_or("lobby")
}

/// Serves a hub that forwards text unchanged, as the other contestants do.
pub(crate) async fn serve_text(listener: TcpListener, settings: Settings) -> Result<()> {
    serve(listener, settings, Hub::<RawMessage>::with_codec(Raw), RawMessage::Text).await
}

/// Serves a hub that decodes each message and encodes it again.
pub(crate) async fn serve_json(listener: TcpListener, settings: Settings) -> Result<()> {
    serve(listener, settings, Hub::<Message>::with_codec(Json::new()), parse).await
}

/// Serves a hub with the JSON codec that floods a room on request.
pub(crate) async fn serve_flood(listener: TcpListener, shards: usize) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    flood::server::serve(Server::from_listener(listener), shards).await
}

async fn serve<T: Send + Sync + 'static>(
    listener: TcpListener,
    settings: Settings,
    builder: Builder<T>,
    parse: fn(String) -> T,
) -> Result<()> {
    let builder = match settings.is_lossy {
        true => builder.overflow(Overflow::DropNewest).write_timeout(HOUR),
        false => builder,
    };
    let builder = match settings.compression {
        Some(compression) => builder.compression(compression),
        None => builder,
    };
    let builder = match settings.connections {
        Some(connections) => builder.max_connections(connections),
        None => builder,
    };
    let builder = builder.io_uring(settings.may_use_io_uring).shards(settings.shards);
    let builder = builder.shard_threads(settings.has_shard_threads);
    let hub = builder.ping_interval(settings.ping_interval).build()?;
    answer_requests(&hub, parse);
    let server = Server::from_listener(tokio::net::TcpListener::from_std(listener)?);
    let server = if settings.is_tls { server.tls(&identity()?) } else { server };
    server.route("/ws/{room}", hub.handle(Relay))?.run().await;
    Ok(())
}

fn parse(text: String) -> Message {
    serde_json::from_str(&text).expect("a message of the feed")
}

/// Answers the parent's requests until the parent ends.
fn answer_requests<T: Send + Sync + 'static>(hub: &Hub<T>, parse: fn(String) -> T) {
    let hub = hub.clone();
    process::answer_until_the_end(move |request| {
        if let HubRequest::Broadcast { bytes } = request {
            let text = Feed::new().message(process::monotonic_micros()?, bytes);
            hub.try_broadcast(&parse(text))?;
        }
        let Stats { pings, writes, batched_writes, .. } = hub.stats();
        Ok(HubCounts { connections: hub.count() as u64, pings, writes, batched_writes })
    });
}

/// Creates a certificate, in files that the clients find.
fn identity() -> Result<Tls> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let [certificate, key] = identity_files(std::process::id());
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    Ok(Tls::from_pem_files(certificate, key)?)
}

/// A client that has sent the right token.
struct User;

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        match parts.headers.get(header::AUTHORIZATION) {
            Some(value) if value == AUTHORIZATION => Ok(Self),
            _ => Err(StatusCode::UNAUTHORIZED),
        }
    }
}

/// Serves a hub in axum; clients must send the token.
pub(crate) async fn serve_in_axum(listener: TcpListener) -> Result<()> {
    let hub = Hub::<RawMessage>::with_codec(Raw).shards(1).ping_interval(Duration::ZERO).build()?;
    answer_requests(&hub, RawMessage::Text);
    let endpoint = hub.handle(Relay);
    let enter = |_: User, upgrade: HubUpgrade| async move { upgrade.accept(&endpoint).await };
    let app = Router::new().route("/ws/{room}", get(enter));
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Ok(axum::serve(listener, app).await?)
}
