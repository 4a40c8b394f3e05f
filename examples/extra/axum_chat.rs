//! `cargo run -p extra-examples --example axum_chat`, and open <http://127.0.0.1:8080>. The password is `open sesame`.
//!
//! A chat with a login, in axum. The login sets a signed cookie. The extractor [`User`] reads it before the handshake
//! of a WebSocket, answers 401 without it, and is then what the connection carries. The cookie names the
//! speaker, not the message: clients send `Say`, and get `Said`.

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

/// Whoever has logged in.
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
    /// Signs the cookies. It is new at each start, so everybody logs in again.
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

/// An application has accounts instead, a bound on tries, and over HTTPS a cookie that is `secure`.
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
    let told_to_end = shutdown_signal();
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
    // So that connections know the address of their client.
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    // axum knows nothing of connections that have become WebSockets.
    let ended = async move {
        told_to_end.await;
        println!("{}", hub.shutdown(Duration::from_secs(5)).await);
    };
    axum::serve(listener, service).with_graceful_shutdown(ended).await?;
    Ok(())
}
