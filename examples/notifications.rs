//! Messages to a user who may have several tabs open. Each user has a room, and each tab of the user joins that room:
//! a message to the room reaches all tabs of the user, on all servers that share a backplane.
//!
//! Run `cargo run --example notifications`, then `npx wscat -c "ws://127.0.0.1:8080/?token=t-ann"` in two terminals,
//! and with `token=t-bob` in a third. Type `"bob: hello"`, with the quotes, in one of the first two.

use std::collections::HashMap;
use std::sync::Arc;
use std::{env, error::Error};

use roomcast::{Hub, Server, StatusCode};

#[derive(Clone, Copy)]
struct User(&'static str);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let tokens = HashMap::from([("t-ann", User("ann")), ("t-bob", User("bob"))]);
    let hub = Hub::<String>::new();
    let tabs = hub
        .handlers()
        .on_message(async |conn, text| {
            let User(name) = conn.get();
            let (to, text) = text.split_once(": ").unwrap_or((name, &text));
            conn.hub().to_room(&format!("user:{to}"), &format!("{name} writes: {text}")).await?;
            Ok(())
        })
        .with_state(Arc::new(tokens))
        .on_upgrade(async |tokens, mut request| {
            // Servers write URLs into their logs. A real application sends the token in a cookie or in the first
            // message.
            let token = request.query("token").ok_or(StatusCode::UNAUTHORIZED)?;
            let user = *tokens.get(&*token).ok_or(StatusCode::UNAUTHORIZED)?;
            request.join(&format!("user:{}", user.0));
            request.insert(user);
            Ok(request)
        });
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let server = Server::bind(listen).await?.route("/", hub.handle(tabs))?;
    println!("listening on ws://{}", server.local_addr()?);
    server.run().await;
    Ok(())
}
