//! axum, and a `tokio::sync::broadcast` a room: what is written most often.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::any;
use axum::serve::ListenerExt;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::Result;

/// Messages that a receiver may lag behind: more than are ever on the way here.
const CAPACITY: usize = 1_024;

type Rooms = Arc<Mutex<HashMap<String, broadcast::Sender<Utf8Bytes>>>>;

pub(crate) async fn serve(listener: TcpListener) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(super::set_nodelay);
    let app = Router::new().route("/ws/{room}", any(upgrade)).with_state(Rooms::default());
    Ok(axum::serve(listener, app).await?)
}

async fn upgrade(
    upgrade: WebSocketUpgrade,
    Path(room): Path<String>,
    State(rooms): State<Rooms>,
) -> Response {
    let mut rooms = rooms.lock().expect("nobody panics with it");
    let sender = rooms.entry(room).or_insert_with(|| broadcast::Sender::new(CAPACITY)).clone();
    upgrade.on_upgrade(|socket| run(socket, sender))
}

/// As in axum's own example of a chat: a task that sends, and one that receives.
async fn run(socket: WebSocket, sender: broadcast::Sender<Utf8Bytes>) {
    let (mut sink, mut stream) = socket.split();
    let mut receiver = sender.subscribe();
    tokio::spawn(async move {
        loop {
            let text = match receiver.recv().await {
                Ok(text) => text,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            if sink.send(Message::Text(text)).await.is_err() {
                return;
            }
        }
    });
    while let Some(Ok(message)) = stream.next().await {
        if let Message::Text(text) = message {
            let _ = sender.send(text);
        }
    }
}
