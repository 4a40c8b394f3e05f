//! `cargo run --example game`, then `npx wscat -c ws://127.0.0.1:8080` and type `{"dx":1,"dy":0}`.
//!
//! A game that sends its whole world 20 times in a second. A client that is too slow misses ticks, and always gets the
//! newest one next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::{env, error::Error};

use roomcast::{ConnId, Hub, Overflow, Server};
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex, time::interval};

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

type Players = Arc<Mutex<HashMap<ConnId, (f32, f32)>>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let players = Players::default();
    let hub = Hub::<World, Step>::builder().overflow(Overflow::KeepNewest).build()?;
    let moves = hub
        .handlers()
        .with_state(players.clone())
        .on_message(async |players, conn, Step { dx, dy }| {
            let mut players = players.lock().await;
            let (x, y) = players.entry(conn.id()).or_default();
            (*x, *y) = (*x + dx, *y + dy);
        })
        .on_disconnect(async |players, conn, _| {
            players.lock().await.remove(&conn.id());
        });
    let listen = env::var("LISTEN").unwrap_or("127.0.0.1:8080".into());
    let server = Server::bind(listen).await?.route("/", hub.handle(moves))?;
    println!("listening on ws://{}", server.local_addr()?);
    tokio::spawn(server.run());

    let mut clock = interval(Duration::from_millis(50));
    for tick in 0.. {
        clock.tick().await;
        let players = players.lock().await.values().copied().collect();
        hub.broadcast(&World { tick, players }).await?;
    }
    Ok(())
}
