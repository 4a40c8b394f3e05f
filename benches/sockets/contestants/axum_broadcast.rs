//! axum with a `tokio::sync::broadcast` channel for each room: the most common way to write a chat.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::any;
use axum::serve::ListenerExt;
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::Result;

/// The messages that a receiver may lag behind: more than are ever in flight here.
const CAPACITY: usize = 1_024;

#[derive(Clone)]
struct Shared {
    rooms: Rooms,
    is_joined: bool,
}

type Rooms = Arc<Mutex<HashMap<String, broadcast::Sender<Utf8Bytes>>>>;

/// Serves. `is_joined`: whether all queued messages are fed before one flush.
pub(crate) async fn serve(listener: TcpListener, is_joined: bool) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(super::set_nodelay);
    let shared = Shared { rooms: Rooms::default(), is_joined };
    let app = Router::new().route("/ws/{room}", any(upgrade)).with_state(shared);
    Ok(axum::serve(listener, app).await?)
}

async fn upgrade(
    upgrade: WebSocketUpgrade,
    Path(room): Path<String>,
    State(Shared { rooms, is_joined }): State<Shared>,
) -> Response {
    let mut rooms = rooms.lock().expect("no thread panics with the lock");
    let sender = rooms.entry(room).or_insert_with(|| broadcast::Sender::new(CAPACITY)).clone();
    upgrade.on_upgrade(move |socket| run(socket, sender, is_joined))
}

/// Runs a connection with a task that sends and a task that receives, as in axum's own chat example.
async fn run(socket: WebSocket, sender: broadcast::Sender<Utf8Bytes>, is_joined: bool) {
    let (sink, mut stream) = socket.split();
    tokio::spawn(forward(sender.subscribe(), sink, is_joined));
    while let Some(Ok(message)) = stream.next().await {
        if let Message::Text(text) = message {
            let _ = sender.send(text);
        }
    }
}

async fn forward(
    mut receiver: broadcast::Receiver<Utf8Bytes>,
    mut sink: SplitSink<WebSocket, Message>,
    is_joined: bool,
) {
    loop {
        let text = match receiver.recv().await {
            Ok(text) => text,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let mut fed = sink.feed(Message::Text(text)).await;
        while is_joined && fed.is_ok() {
            let Ok(text) = receiver.try_recv() else { break };
            fed = sink.feed(Message::Text(text)).await;
        }
        if fed.is_err() || sink.flush().await.is_err() {
            return;
        }
    }
}
