//! A chat with history: a client that joins a room first gets the last 50 messages of the room, then the new ones.
//! The history of a room is deleted when its last member leaves.
//!
//! Run `cargo run --example history`, then `npx wscat -c ws://127.0.0.1:8080/lobby` in two terminals.

use std::collections::{HashMap, VecDeque};
use std::env;
use std::sync::{Arc, Mutex, MutexGuard};

use roomcast::{Encoded, Hub, RoomState, Server};

const KEPT_MAX: usize = 50;

/// The last messages of each room that has members.
#[derive(Default)]
struct History(Mutex<HashMap<String, VecDeque<Encoded>>>);

impl History {
    fn rooms(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Encoded>>> {
        self.0.lock().expect("no thread panics with the lock")
    }

    fn last(&self, room: &str) -> VecDeque<Encoded> {
        self.rooms().get(room).cloned().unwrap_or_default()
    }
}

impl RoomState for History {
    fn on_publish(&self, room: &str, message: &Encoded) {
        let mut rooms = self.rooms();
        let kept = rooms.entry(room.to_owned()).or_default();
        kept.push_back(message.clone());
        if kept.len() > KEPT_MAX {
            kept.pop_front();
        }
    }

    fn on_empty(&self, room: &str) {
        self.rooms().remove(room);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let history = Arc::new(History::default());
    let hub = Hub::<String>::builder().room_state(history.clone()).build()?;
    let rooms = hub
        .handlers()
        .with_state(history)
        .on_connect(async |history, conn| {
            conn.join_with(conn.param("room"), || history.last(conn.param("room"))).await?;
            Ok(())
        })
        .on_message(async |_, conn, message| {
            conn.hub().to_room(conn.param("room"), &message).await?;
            Ok(())
        });
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let server = Server::bind(listen).await?.route("/{room}", hub.handle(rooms))?;
    println!("listening on ws://{}", server.local_addr()?);
    server.run().await;
    Ok(())
}
