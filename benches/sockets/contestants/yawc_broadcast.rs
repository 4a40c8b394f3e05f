//! yawc in axum with a `tokio::sync::broadcast` channel for each room: a compressor for each connection.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::serve::ListenerExt;
use bytes::Bytes;
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use yawc::{Frame, HttpWebSocket, IncomingUpgrade, OpCode, Options};

use crate::Result;

/// The messages that may wait for a client: more than are ever in flight here.
const CAPACITY: usize = 1_024;

type Rooms = Arc<Mutex<HashMap<String, broadcast::Sender<Bytes>>>>;

pub(crate) async fn serve(listener: TcpListener) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(super::set_nodelay);
    let app = Router::new().route("/ws/{room}", any(upgrade)).with_state(Rooms::default());
    Ok(axum::serve(listener, app).await?)
}

async fn upgrade(
    Path(room): Path<String>,
    State(rooms): State<Rooms>,
    upgrade: IncomingUpgrade,
) -> Result<Response, StatusCode> {
    let sender = {
        let mut rooms = rooms.lock().expect("no thread panics with the lock");
        rooms.entry(room).or_insert_with(|| broadcast::Sender::new(CAPACITY)).clone()
    };
    // Level 1, and a message may refer to the messages before.
    let options = Options::default().with_low_latency_compression();
    let (response, upgraded) = upgrade.upgrade(options).map_err(|_| StatusCode::BAD_REQUEST)?;
    tokio::spawn(async move {
        if let Ok(socket) = upgraded.await {
            run(socket, sender).await;
        }
    });
    Ok(response.into_response())
}

async fn run(socket: HttpWebSocket, sender: broadcast::Sender<Bytes>) {
    let (sink, mut stream) = socket.split();
    tokio::spawn(forward(sender.subscribe(), sink));
    while let Some(frame) = stream.next().await {
        if frame.opcode() == OpCode::Text {
            let _ = sender.send(frame.into_payload());
        }
    }
}

/// Feeds all queued messages before a flush.
async fn forward(
    mut receiver: broadcast::Receiver<Bytes>,
    mut sink: SplitSink<HttpWebSocket, Frame>,
) {
    loop {
        let text = match receiver.recv().await {
            Ok(text) => text,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let mut fed = sink.feed(Frame::text(text)).await;
        while fed.is_ok() {
            let Ok(text) = receiver.try_recv() else { break };
            fed = sink.feed(Frame::text(text)).await;
        }
        if fed.is_err() || sink.flush().await.is_err() {
            return;
        }
    }
}
