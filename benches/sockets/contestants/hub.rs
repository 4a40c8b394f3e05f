//! roomcast itself.

use std::net::TcpListener;
use std::time::Duration;

use roomcast::{
    Builder, Close, Codec, Conn, Handler, Hub, Json, Overflow, Raw, RawMessage, Server,
};
use serde::{Deserialize, Serialize};

use super::HOUR;
use crate::Result;

/// What differs from the defaults.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) shards: usize,
    /// Whether a slow client loses what is new, instead of its connection.
    pub(crate) is_lossy: bool,
}

/// What is sent, where it is not passed on as it is.
#[derive(Serialize, Deserialize)]
struct Message {
    at: u64,
    pad: String,
}

struct Relay;

impl<T: Send + Sync + 'static> Handler<T> for Relay {
    async fn on_connect(&self, conn: &Conn<T>) -> Result<(), Close> {
        Ok(conn.join(room(conn))?)
    }

    async fn on_message(&self, conn: &Conn<T>, message: T) {
        // Fails only when the hub is closed.
        let _ = conn.hub().to_room_wait(room(conn), &message).await;
    }
}

fn room<T: Send + 'static>(conn: &Conn<T>) -> &str {
    conn.param("room").unwrap_or("lobby")
}

/// A hub that passes text on as it is, as all other contestants do.
pub(crate) async fn serve_text(listener: TcpListener, settings: Settings) -> Result<()> {
    serve(listener, settings, Hub::<RawMessage>::with_codec(Raw)).await
}

/// A hub that decodes what comes, and encodes it again.
pub(crate) async fn serve_json(listener: TcpListener, settings: Settings) -> Result<()> {
    serve(listener, settings, Hub::<Message>::with_codec(Json::new())).await
}

async fn serve<T: Send + Sync + 'static, C: Codec<T>>(
    listener: TcpListener,
    settings: Settings,
    builder: Builder<T, C>,
) -> Result<()> {
    let builder = match settings.is_lossy {
        true => builder.overflow(Overflow::DropNewest).write_timeout(HOUR),
        false => builder,
    };
    let hub = builder.shards(settings.shards).ping_interval(Duration::ZERO).build()?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Server::from_listener(listener).route("/ws/{room}", hub.handle(Relay))?.run().await;
    Ok(())
}
