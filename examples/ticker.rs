//! A server that only sends: the price of a share, once a second, to the clients that watch the share.
//!
//! Run `cargo run --example ticker`, then `npx wscat -c ws://127.0.0.1:8080/prices/ACME`. The type of incoming messages
//! is `Never`, so the hub closes the connection of a client that sends a message.

use std::time::Duration;
use std::{env, error::Error};

use roomcast::{Hub, Never, Server, StatusCode};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

#[derive(Serialize)]
struct Price {
    share: &'static str,
    cents: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = Hub::<Price, Never>::new();
    let watch = hub.handlers().on_upgrade(async |request| match request.param("share") {
        "ACME" => {
            request.join("ACME");
            Ok(request)
        }
        _ => Err(StatusCode::NOT_FOUND.into()),
    });
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let server = Server::bind(listen).await?.route("/prices/{share}", hub.handle(watch))?;
    println!("listening on ws://{}", server.local_addr()?);
    tokio::spawn(server.run());

    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut cents = 1_000;
    loop {
        second.tick().await;
        hub.to_room("ACME", &Price { share: "ACME", cents }).await?;
        cents += 1;
    }
}
