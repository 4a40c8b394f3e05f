//! A chat with a login, in axum.
//!
//! Run `cargo run -p extra-examples --example axum_chat` and open <http://127.0.0.1:8080>. The password is
//! `open sesame`.
//!
//! The login sets a signed cookie. Before a WebSocket handshake the extractor [`User`] reads the cookie; without a
//! cookie it answers 401. The connection then carries the `User`. The server takes the speaker's name from the cookie,
//! never from a message: clients send `Say` and get `Said`.

use std::net::SocketAddr;
use std::time::Duration;
use std::{env, error::Error};

use axum::extract::{FromRef, FromRequestParts, State};
use axum::http::{StatusCode, header, request::Parts};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use axum_extra::extract::{SignedCookieJar, cookie::Cookie, cookie::Key, cookie::SameSite};
use roomcast::{Close, Conn, Endpoint, Handler, Hub, HubUpgrade, shutdown_signal};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Say {
    text: String,
}

#[derive(Serialize)]
struct Said {
    user: String,
    text: String,
}

/// A user who has logged in.
#[derive(Clone)]
struct User(String);

struct Chat;

impl Handler<Said, Say> for Chat {
    async fn on_connect(&self, conn: &Conn<Said, Say>) -> Result<(), Close> {
        conn.join(conn.param("room")).await?;
        Ok(())
    }

    async fn on_message(&self, conn: &Conn<Said, Say>, Say { text }: Say) -> Result<(), Close> {
        let User(user) = conn.get();
        conn.hub().to_room(conn.param("room"), &Said { user: user.clone(), text }).await?;
        Ok(())
    }
}

#[derive(Clone)]
struct App {
    /// Signs the cookies. Each start makes a new key, so all users must log in again.
    key: Key,
    chat: Endpoint<Chat, Said, Say>,
}

impl FromRef<App> for Key {
    fn from_ref(app: &App) -> Self {
        app.key.clone()
    }
}

impl FromRequestParts<App> for User {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, StatusCode> {
        let jar = SignedCookieJar::from_headers(&parts.headers, app.key.clone());
        let cookie = jar.get("user").ok_or(StatusCode::UNAUTHORIZED)?;
        Ok(Self(cookie.value().to_owned()))
    }
}

async fn enter(user: User, State(app): State<App>, upgrade: HubUpgrade) -> Response {
    upgrade.with(user).accept(&app.chat).await
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

/// Sets the cookie if the password is right. A real application has accounts, limits the login attempts, and sets
/// `secure` on the cookie when it serves HTTPS.
async fn log_in(jar: SignedCookieJar, Form(login): Form<Login>) -> Response {
    let Login { name, password } = login;
    if password != "open sesame" || !(1..=64).contains(&name.len()) {
        return (StatusCode::UNAUTHORIZED, page("form", "No. Try again.")).into_response();
    }
    let cookie = Cookie::build(("user", name)).http_only(true).same_site(SameSite::Strict);
    (jar.add(cookie.path("/")), Redirect::to("/")).into_response()
}

async fn log_out(_: User, jar: SignedCookieJar) -> Response {
    (jar.remove(Cookie::build("user").path("/")), Redirect::to("/")).into_response()
}

async fn index(user: Result<User, StatusCode>) -> Html<String> {
    page(if user.is_ok() { "chat" } else { "form" }, "")
}

fn page(shown: &str, note: &str) -> Html<String> {
    Html(include_str!("axum_chat.html").replace("{shown}", shown).replace("{note}", note))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stop = shutdown_signal();
    let hub = Hub::<Said, Say>::new();
    let script = ([(header::CONTENT_TYPE, "text/javascript")], include_str!("../roomcast.js"));
    let router = Router::new()
        .route("/", get(index))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/roomcast.js", get(script))
        .route("/ws/{room}", get(enter))
        .with_state(App { key: Key::generate(), chat: hub.handle(Chat) });
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // Gives each connection the address of its client.
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    // axum does not wait for connections that were upgraded to WebSockets: the hub closes them.
    let ended = async move {
        stop.await;
        println!("{}", hub.shutdown(Duration::from_secs(5)).await);
    };
    axum::serve(listener, service).with_graceful_shutdown(ended).await?;
    Ok(())
}
