//! `TOKEN=secret REDIS_URL=redis://127.0.0.1 LISTEN=127.0.0.1:8080 cargo run --features redis --example quickstart`, and
//! `npx wscat -H "Authorization: Bearer secret" -c ws://127.0.0.1:8080/ws/tea`.
//!
//! Rooms for those who know the token, on every server that shares the Redis.

use roomcast::{Hub, Server, StatusCode, shutdown_signal};
use std::{env::var, time::Duration};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let told_to_end = shutdown_signal();
    let token = format!("Bearer {}", var("TOKEN")?);
    let hub = Hub::<String>::builder().redis(var("REDIS_URL")?, "quickstart").build()?;
    let rooms = hub
        .handlers()
        .on_message(async |conn, text| {
            conn.hub().to_room(conn.param("room"), &text).await?;
            Ok(())
        })
        .with_state(token)
        .on_upgrade(async |token, request| match request.header("authorization") {
            Some(header) if header == token => {
                request.join(request.param("room"));
                Ok(request)
            }
            _ => Err(StatusCode::UNAUTHORIZED.into()),
        });
    let server = Server::bind(var("LISTEN")?).await?.route("/ws/{room}", hub.handle(rooms))?;
    println!("listening on http://{}", server.local_addr()?);
    println!("{}", server.run_until(told_to_end, Duration::from_secs(10)).await);
    Ok(())
}
