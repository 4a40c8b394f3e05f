//! A game server that sends its whole world to all players 20 times a second. A client that is too slow misses ticks;
//! the next tick that it gets is always the newest.
//!
//! Run `cargo run --example game`, then `npx wscat -c ws://127.0.0.1:8080` and type `{"dx":1,"dy":0}`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{env, error::Error};

use roomcast::{ConnId, Hub, Overflow, Server};
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};

#[derive(Deserialize)]
struct Step {
    dx: f32,
    dy: f32,
}

#[derive(Serialize)]
struct World {
    tick: u64,
    players: Vec<(f32, f32)>,
}

#[derive(Clone, Default)]
struct Players(Arc<Mutex<HashMap<ConnId, (f32, f32)>>>);

impl Players {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConnId, (f32, f32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let players = Players::default();
    let hub = Hub::<World, Step>::builder().overflow(Overflow::KeepNewest).build()?;
    let moves = hub
        .handlers()
        .with_state(players.clone())
        .on_connect(async |players, conn| {
            players.lock().insert(conn.id(), (0.0, 0.0));
        })
        .on_message(async |players, conn, Step { dx, dy }| {
            let (dx, dy) = (dx.clamp(-1.0, 1.0), dy.clamp(-1.0, 1.0));
            players.lock().entry(conn.id()).and_modify(|(x, y)| (*x, *y) = (*x + dx, *y + dy));
        })
        .on_disconnect(async |players, conn, _| {
            players.lock().remove(&conn.id());
        });
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let server = Server::bind(listen).await?.route("/", hub.handle(moves))?;
    println!("listening on ws://{}", server.local_addr()?);
    tokio::spawn(server.run());

    let mut clock = interval(Duration::from_millis(50));
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut tick = 0;
    loop {
        clock.tick().await;
        let players = players.lock().values().copied().collect();
        hub.broadcast(&World { tick, players }).await?;
        tick += 1;
    }
}
