//! A program that publishes one message and exits, such as a cron job, a worker, or a back end without clients.
//!
//! Run `cargo run --features redis --example cron -- redis://127.0.0.1 "It is noon."`. The message reaches the room
//! `lobby` of every hub that uses the same Redis and the same channel, such as `/ws/lobby` of the example `quickstart`.

use std::env;
use std::error::Error;
use std::time::Duration;

use roomcast::Hub;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: cron REDIS_URL TEXT";
    let url = env::args().nth(1).ok_or(usage)?;
    let text = env::args().nth(2).ok_or(usage)?;
    let hub = Hub::<String>::builder().redis(url, "quickstart").build()?;
    hub.to_room("lobby", &text).await?;
    // Waits until the message has reached Redis.
    let report = hub.shutdown(Duration::from_secs(5)).await;
    match report.messages_unsent {
        0 => Ok(()),
        _ => Err(report.to_string().into()),
    }
}
