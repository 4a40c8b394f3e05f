//! A room with a moderator, who mutes and kicks users. The hub lists the members of the room, with the `User` that the
//! application attached to each connection.
//!
//! Run `cargo run --example moderated`, then `npx wscat -c "ws://127.0.0.1:8080/?name=ann"` in several terminals: a
//! different name in each, and `name=admin` for the moderator. Type `{"say":"hello"}`, `"list"`, `{"mute":"bob"}` or
//! `{"kick":"bob"}`.
//!
//! A real application authenticates its users, and stores in a database who is muted. Here a muted client may speak
//! again after it reconnects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, error::Error};

use roomcast::{Close, CloseCode, Conn, Hub, Server, StatusCode, Target};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ask {
    Say(String),
    List,
    Mute(String),
    Kick(String),
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Event {
    Said { by: String, text: String },
    Members(Vec<String>),
    Refused,
}

#[derive(Clone)]
struct User {
    name: String,
    is_muted: Arc<AtomicBool>,
}

async fn answer(conn: Conn<Event, Ask>, ask: Ask) -> Result<(), Close> {
    let (hub, user) = (conn.hub(), conn.get::<User>());
    let is_moderator = user.name == "admin";
    match ask {
        Ask::Say(text) if !user.is_muted.load(Ordering::Relaxed) => {
            hub.to_room("room", &Event::Said { by: user.name.clone(), text }).await?;
        }
        Ask::List => {
            let members = hub.members("room").await;
            let names = members.iter().map(|member| member.get::<User>().name.clone());
            conn.send(&Event::Members(names.collect())).await?;
        }
        Ask::Mute(name) if is_moderator => {
            for tab in hub.members(&format!("user:{name}")).await {
                tab.get::<User>().is_muted.store(true, Ordering::Relaxed);
            }
        }
        Ask::Kick(name) if is_moderator => {
            let tabs = Target::room(format!("user:{name}"));
            hub.close(&tabs, Close::new(CloseCode::from(4_003), "kicked")).await?;
        }
        _ => conn.send(&Event::Refused).await?,
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = Hub::<Event, Ask>::new();
    let handlers = hub
        .handlers()
        .on_upgrade(async |mut request| {
            // There is no login: anybody may connect as `admin`.
            let name = request.query("name").ok_or(StatusCode::UNAUTHORIZED)?.into_owned();
            request.join("room");
            request.join(&format!("user:{name}"));
            request.insert(User { name, is_muted: Arc::default() });
            Ok(request)
        })
        .on_message(answer);
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let server = Server::bind(listen).await?.route("/", hub.handle(handlers))?;
    println!("listening on ws://{}", server.local_addr()?);
    server.run().await;
    Ok(())
}
