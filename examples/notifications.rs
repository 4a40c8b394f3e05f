//! `cargo run --example notifications`, then `npx wscat -c "ws://127.0.0.1:8080/?token=t-ann"` in two terminals, and
//! type `bob: hello` in a third one with `token=t-bob`.
//!
//! Each user has a room, and each tab of the user is in it: whoever writes to the user reaches all tabs, on every
//! server that shares a backplane.

use std::collections::HashMap;
use std::sync::Arc;
use std::{env, error::Error};

use roomcast::{Hub, Server, StatusCode, Target};

#[derive(Clone)]
struct User(&'static str);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let tokens = HashMap::from([("t-ann", User("ann")), ("t-bob", User("bob"))]);
    let hub = Hub::<String>::new();
    let tabs = hub
        .handlers()
        .with_state(Arc::new(tokens))
        .on_upgrade(async |tokens, mut request| {
            let token = request.query("token").unwrap_or_default();
            let user = tokens.get(&*token).ok_or(StatusCode::UNAUTHORIZED)?.clone();
            request.insert(user);
            Ok(request)
        })
        .on_connect(async |_, conn| {
            let User(name) = conn.get();
            conn.join(&format!("user:{name}")).await?;
            Ok(())
        })
        .on_message(async |_, conn, text| {
            let User(name) = conn.get();
            let (to, text) = text.split_once(": ").unwrap_or((name, &text));
            let all_tabs = Target::room(format!("user:{to}"));
            conn.hub().publish(&all_tabs, &format!("{name} writes: {text}")).await?;
            Ok(())
        });
    let listen = env::var("LISTEN").unwrap_or("127.0.0.1:8080".into());
    let server = Server::bind(listen).await?.route("/", hub.handle(tabs))?;
    println!("listening on ws://{}", server.local_addr()?);
    server.run().await;
    Ok(())
}
