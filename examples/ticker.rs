//! `cargo run --example ticker`, and `npx wscat -c ws://127.0.0.1:8080/prices/ACME`.
//!
//! A server that only sends: a price every second, to those who watch that share. A client that says something is
//! closed, for the hub accepts `Never`.

use std::time::Duration;
use std::{env, error::Error};

use roomcast::{Hub, Never, Server};
use serde::Serialize;
use tokio::time::interval;

#[derive(Serialize)]
struct Price {
    share: &'static str,
    cents: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = Hub::<Price, Never>::new();
    let watch = hub.handlers().on_connect(async |conn| {
        conn.join(conn.param("share")).await?;
        Ok(())
    });
    let listen = env::var("LISTEN").unwrap_or("127.0.0.1:8080".into());
    let server = Server::bind(listen).await?.route("/prices/{share}", hub.handle(watch))?;
    println!("listening on ws://{}", server.local_addr()?);
    tokio::spawn(server.run());

    let mut second = interval(Duration::from_secs(1));
    for cents in 1_000.. {
        second.tick().await;
        hub.to_room("ACME", &Price { share: "ACME", cents }).await?;
    }
    Ok(())
}
