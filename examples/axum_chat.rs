//! A chat with a login, in axum.
//!
//! ```text
//! cargo run --release --features axum --example axum_chat
//! ```
//!
//! and open the address that it prints; any name will do, and the password is the one of `--password`. The
//! login sets a signed cookie: good until the server ends, and over HTTPS to be made `Secure`. What an
//! application adds is accounts, and a bound on tries. The extractor [`User`] reads it: for the page, which
//! shows the form to others, and for the WebSocket, which answers others with 401 before there is a
//! connection. Who says something is told by the cookie, not by the message.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use axum_extra::extract::SignedCookieJar;
use axum_extra::extract::cookie::{Cookie, Key, SameSite};
use clap::Parser;
use roomcast::{Close, Conn, Endpoint, Handler, Hub, HubUpgrade, Shutdown, shutdown_signal};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

const PAGE: &str = include_str!("axum_chat.html");
const CLIENT: &str = include_str!("roomcast.js");

/// The name of the cookie.
const COOKIE: &str = "user";

/// The longest name of a user, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// A chat with a login, in axum.
#[derive(Parser)]
struct Options {
    /// The address to listen on; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    /// What everybody logs in with.
    #[arg(long, default_value = "open sesame")]
    password: String,
}

/// What a client says. It does not say who it is: the cookie does.
#[derive(Deserialize)]
struct Say {
    text: String,
}

/// What everybody in the room gets.
#[derive(Serialize)]
struct Event {
    user: String,
    text: String,
}

/// Everybody in a room gets what anybody in it says.
struct Chat;

impl Handler<Event, Say> for Chat {
    async fn on_connect(&self, conn: &Conn<Event, Say>) -> Result<(), Close> {
        conn.join(conn.param("room")).await?;
        Ok(())
    }

    async fn on_message(&self, conn: &Conn<Event, Say>, Say { text }: Say) -> Result<(), Close> {
        let User(user) = conn.get();
        conn.hub().to_room(conn.param("room"), &Event { user: user.clone(), text }).await?;
        Ok(())
    }
}

#[derive(Clone)]
struct App {
    /// Signs the cookies. Another one at each start: everybody logs in again.
    key: Key,
    password: String,
    chat: Endpoint<Chat, Event, Say>,
}

impl FromRef<App> for Key {
    fn from_ref(app: &App) -> Self {
        app.key.clone()
    }
}

/// Whoever has logged in.
#[derive(Clone)]
struct User(String);

impl FromRequestParts<App> for User {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, StatusCode> {
        let jar = SignedCookieJar::from_headers(&parts.headers, app.key.clone());
        let cookie = jar.get(COOKIE).ok_or(StatusCode::UNAUTHORIZED)?;
        Ok(Self(cookie.value().to_owned()))
    }
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

async fn log_in(
    State(app): State<App>,
    jar: SignedCookieJar,
    Form(Login { name, password }): Form<Login>,
) -> Response {
    if password != app.password || name.trim().is_empty() || name.len() > NAME_BYTES_MAX {
        return (StatusCode::UNAUTHORIZED, page("form", "No. Try again.")).into_response();
    }
    let cookie = Cookie::build((COOKIE, name.trim().to_owned()))
        .http_only(true)
        .same_site(SameSite::Strict)
        .path("/");
    (jar.add(cookie), Redirect::to("/")).into_response()
}

/// Only for a [`User`]: the form of another site comes without the cookie.
async fn log_out(_: User, jar: SignedCookieJar) -> Response {
    (jar.remove(Cookie::build(COOKIE).path("/")), Redirect::to("/")).into_response()
}

async fn index(user: Result<User, StatusCode>) -> Html<String> {
    match user {
        Ok(_) => page("chat", ""),
        Err(_) => page("form", ""),
    }
}

fn page(shown: &str, note: &str) -> Html<String> {
    Html(PAGE.replace("{shown}", shown).replace("{note}", note))
}

/// Runs only for a [`User`]: others have their 401 by then.
async fn enter(user: User, State(app): State<App>, upgrade: HubUpgrade) -> Response {
    upgrade.with(user).accept(&app.chat).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let told_to_end = shutdown_signal();
    let Options { listen, password } = Options::parse();
    let hub = Hub::<Event, Say>::new();
    let app = App { key: Key::generate(), password, chat: hub.handle(Chat) };
    let script = ([(header::CONTENT_TYPE, "text/javascript")], CLIENT);
    let router = Router::new()
        .route("/", get(index))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/roomcast.js", get(script))
        .route("/ws/{room}", get(enter))
        .with_state(app);
    let listener = TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(shut_down(hub, told_to_end)).await?;
    Ok(())
}

/// Resolves when the hub has been shut down: axum knows nothing of connections that were upgraded.
async fn shut_down(hub: Hub<Event, Say>, told_to_end: impl Future<Output = ()>) {
    told_to_end.await;
    println!("{}", hub.shutdown(Shutdown::within(Duration::from_secs(5))).await);
}
