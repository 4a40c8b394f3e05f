//! Chat rooms for clients that send the right token. All servers that use the same Redis share the rooms.
//!
//! `TOKEN=secret REDIS_URL=redis://127.0.0.1 LISTEN=127.0.0.1:8080 cargo run --features redis --example quickstart`
//! starts the server; `npx wscat -H "Authorization: Bearer secret" -c ws://127.0.0.1:8080/ws/tea` is a client.

use roomcast::{Hub, Server, StatusCode, shutdown_signal};
use std::{env::var, time::Duration};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stop = shutdown_signal();
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
    println!("{}", server.run_until(stop, Duration::from_secs(10)).await);
    Ok(())
}
