//! A hub in an axum router, under `axum::serve` and behind tower's middleware, with real clients.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{AppendHeaders, Response};
use axum::routing::get;
use axum::serve::Listener;
use hyper_util::service::TowerToHyperService;
use roomcast::{
    Close, Conn, ConnExtensions, Endpoint, Handler, Hub, HubUpgrade, Reject, UpgradeRequest,
};
use support::programs::{Chat, example};
use support::{Client, Listening, TEXT, bind, eventually, frame, upgrade_request, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Error;
use tower::ServiceBuilder;
use tower::timeout::TimeoutLayer;

/// An axum server that stops when it is dropped.
struct Serving {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Serving {
    async fn run(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("the listener is bound");
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move {
            axum::serve(listener, service).await.expect("axum serves without end");
        });
        Self { addr, task }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends each client the data of its connection, and then echoes its messages.
struct Teller;

impl Handler<String> for Teller {
    async fn on_connect(&self, conn: &Conn<String>) -> Result<(), Close> {
        let known = [
            conn.try_param("room").map(str::to_owned),
            conn.query("q").map(|value| value.into_owned()),
            conn.remote_addr().map(|addr| addr.ip().to_string()),
            conn.try_get::<User>().map(|user| user.0.clone()),
        ];
        let _ = conn.try_send(&known.map(|known| known.unwrap_or_default()).join("|"));
        Ok(())
    }

    async fn on_message(&self, conn: &Conn<String>, text: String) -> Result<(), Close> {
        let _ = conn.try_send(&text);
        Ok(())
    }
}

fn hub() -> Hub<String> {
    Hub::new()
}

async fn status_of(addr: SocketAddr, path: &str) -> u16 {
    match Client::try_connect(addr, path).await {
        Ok(_) => 101,
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("no answer: {error}"),
    }
}

#[tokio::test]
async fn axum_endpoint_sees_route_query_and_address() {
    let endpoint = hub().handle(Teller);
    let inner = Router::new().route("/{room}", get(endpoint.clone()));
    let app = Router::new().route("/plain", get(endpoint)).nest("/v1/{version}", inner);
    let server = Serving::run(app).await;

    let mut client = Client::connect(server.addr, "/v1/7/caf%C3%A9%20bar?q=a%26b").await;
    assert_eq!(client.get::<String>().await, "café bar|a&b|127.0.0.1|");
    client.send_text("\"hello\"").await;
    assert_eq!(client.get::<String>().await, "hello");

    let mut plain = Client::connect(server.addr, "/plain").await;
    assert_eq!(plain.get::<String>().await, "||127.0.0.1|");
    assert_eq!(status_of(server.addr, "/v1/7/%FF").await, 400);
    assert_eq!(status_of(server.addr, "/none").await, 404);
}

/// The user that a token belongs to.
#[derive(Clone)]
struct User(String);

/// The state of the application.
#[derive(Clone)]
struct App {
    token: &'static str,
    endpoint: Endpoint<Teller, String>,
}

impl FromRequestParts<App> for User {
    type Rejection = (StatusCode, [(header::HeaderName, &'static str); 1], &'static str);

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        let token = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match token.and_then(|token| token.strip_prefix("Bearer ")) {
            Some(token) if token == app.token => Ok(Self("ada".to_owned())),
            _ => {
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
                Err((StatusCode::UNAUTHORIZED, challenge, "who are you?"))
            }
        }
    }
}

async fn enter(
    user: User,
    State(app): State<App>,
    Path(room): Path<String>,
    upgrade: HubUpgrade,
) -> Response {
    assert_eq!(upgrade.request().uri().path(), format!("/ws/{room}"));
    upgrade.with(user).accept(&app.endpoint).await
}

#[tokio::test]
async fn extractors_run_before_the_handshake_and_reject_with_their_own_response() {
    let hub = hub();
    let app = App { token: "secret", endpoint: hub.handle(Teller) };
    let server = Serving::run(Router::new().route("/ws/{room}", get(enter)).with_state(app)).await;

    let refused = Client::try_connect(server.addr, "/ws/lobby").await;
    let Err(Error::Http(response)) = refused else { panic!("the client was not refused") };
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(response.body().as_deref(), Some(&b"who are you?"[..]));
    assert_eq!(hub.stats().connected, 0);

    let token = [("authorization", "Bearer secret")];
    let (mut client, _) = Client::knock(server.addr, "/ws/lobby", &token).await.expect("known");
    assert_eq!(client.get::<String>().await, "lobby||127.0.0.1|ada");
}

#[tokio::test]
async fn middleware_attaches_data_to_the_connection() {
    async fn authenticate(mut request: Request, next: Next) -> Response {
        let ConnExtensions(kept) = request.extensions_mut().get_or_insert_default();
        kept.insert(User("grace".to_owned()));
        next.run(request).await
    }
    let app = Router::new().route("/ws", get(hub().handle(Teller))).layer(from_fn(authenticate));
    let server = Serving::run(app).await;
    let mut client = Client::connect(server.addr, "/ws").await;
    assert_eq!(client.get::<String>().await, "||127.0.0.1|grace");
}

/// Sets a cookie with the handshake.
struct Baker;

impl Handler<String> for Baker {
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        let cookie = header::HeaderValue::from_static("baked=1");
        request.response_headers_mut().append(header::SET_COOKIE, cookie);
        Ok(())
    }
}

#[tokio::test]
async fn handshake_response_has_headers_of_on_upgrade_and_of_the_axum_handler() {
    let endpoint = hub().handle(Baker);
    let ws = |upgrade: HubUpgrade| async move {
        let response = upgrade.accept(&endpoint).await;
        (AppendHeaders([(header::SET_COOKIE, "axum=1")]), response)
    };
    let server = Serving::run(Router::new().route("/ws", get(ws))).await;
    let (_client, response) = Client::knock(server.addr, "/ws", &[]).await.expect("accepted");
    assert!(response.headers().get_all("set-cookie").iter().eq(["baked=1", "axum=1"]));
}

#[tokio::test]
async fn requests_other_than_handshakes_get_an_error_status() {
    let server = Serving::run(Router::new().route("/ws", get(hub().handle(Teller)))).await;
    for (request, status) in [("GET /ws", "426"), ("POST /ws", "405")] {
        let mut stream = TcpStream::connect(server.addr).await.expect("the server listens");
        let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        within("an answer", stream.read_to_string(&mut answer)).await.expect("text");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
    }
}

#[tokio::test]
async fn message_sent_with_the_handshake_is_delivered() {
    let server = Serving::run(Router::new().route("/ws", get(hub().handle(Teller)))).await;
    let mut stream = TcpStream::connect(server.addr).await.expect("the server listens");
    let mut bytes = upgrade_request("/ws").into_bytes();
    bytes.extend(frame(TEXT, b"\"early\""));
    stream.write_all(&bytes).await.expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\"early\"") {
        let read =
            within("an echo", stream.read_buf(&mut answer)).await.expect("the connection is open");
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
    }
}

/// A listener that accepts pipes in memory instead of sockets.
struct Pipes(mpsc::Receiver<DuplexStream>);

impl Listener for Pipes {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(pipe) => (pipe, ()),
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn hub_serves_streams_other_than_sockets() {
    let hub = hub();
    let app = Router::new().route("/ws", get(hub.handle(Teller)));
    let (sender, pipes) = mpsc::channel(1);
    let server = tokio::spawn(async move { axum::serve(Pipes(pipes), app).await });
    let (near, far) = tokio::io::duplex(1_024);
    sender.send(far).await.expect("the server accepts");
    let mut client = Client::over(near, "/ws").await.expect("a handshake");
    assert_eq!(client.get::<String>().await, "|||");
    let text = "x".repeat(64 * 1_024);
    hub.try_broadcast(&text).expect("the inbox has space");
    assert_eq!(client.get::<String>().await, text);
    client.close_with(1000, "").await;
    assert_eq!(client.closed().await.0, 1000);
    eventually("the connection is gone", || hub.stats().connections == 0).await;
    server.abort();
}

#[tokio::test]
async fn server_bounds_apply_to_an_axum_router_as_fallback() {
    let app = Router::new().route("/ws/{room}", get(hub().handle(Teller)));
    let server = bind().await.max_uri_bytes(64).fallback(TowerToHyperService::new(app));
    let server = Listening::run(server);
    let mut client = Client::connect(server.addr, "/ws/lobby").await;
    assert_eq!(client.get::<String>().await, "lobby||127.0.0.1|");
    assert_eq!(status_of(server.addr, &format!("/ws/{}", "x".repeat(64))).await, 414);
}

/// Accepts requests for `/quick`, and never decides about others.
struct Undecided;

impl Handler<String> for Undecided {
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        match request.uri().path() {
            "/quick" => Ok(()),
            _ => pending().await,
        }
    }

    async fn on_message(&self, conn: &Conn<String>, text: String) -> Result<(), Close> {
        let _ = conn.try_send(&text);
        Ok(())
    }
}

#[tokio::test]
async fn tower_timeout_covers_the_handshake_but_not_the_connection() {
    let hub = hub();
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_millis(50)))
        .service(hub.handle(Undecided));
    let server = bind().await.fallback(TowerToHyperService::new(service));
    let server = Listening::run(server);

    let mut client = Client::connect(server.addr, "/quick").await;
    // This request takes the whole timeout, so the first connection has outlived the timeout. The error becomes a 500.
    assert_eq!(status_of(server.addr, "/slow").await, 500);
    eventually("only the first connection is left", || hub.stats().connections == 1).await;
    client.send_text("\"still here\"").await;
    assert_eq!(client.get::<String>().await, "still here");
}

/// Posts a form to the example `axum_chat`. Returns the status line and the cookie that it sets.
async fn post(addr: SocketAddr, path: &str, form: &str) -> (String, Option<String>) {
    let mut stream = TcpStream::connect(addr).await.expect("the server listens");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
        form.len(),
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer)).await.expect("text");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.and_then(|cookie| cookie.split(';').next()).map(str::to_owned);
    (answer.lines().next().unwrap_or_default().to_owned(), cookie)
}

#[tokio::test]
async fn axum_chat_refuses_clients_without_login_and_names_the_speaker() {
    let mut command = Command::new(example("axum_chat"));
    let chat = Chat::start(command.env("LISTEN", "127.0.0.1:0")).expect("the example starts");
    let (status, cookie) = post(chat.addr, "/login", "name=ada&password=tea").await;
    assert_eq!((&*status, cookie), ("HTTP/1.1 401 Unauthorized", None));
    let (status, cookie) = post(chat.addr, "/login", "name=ada&password=open+sesame").await;
    assert_eq!(status, "HTTP/1.1 303 See Other");
    let cookie = cookie.expect("a cookie");

    let forged = cookie.replace("ada", "eve");
    assert_ne!(forged, cookie);
    for cookie in ["", "user=ada", &forged] {
        let entered = Client::knock(chat.addr, "/ws/lobby", &[("cookie", cookie)]).await;
        let Err(Error::Http(refused)) = entered else { panic!("{cookie:?} was let in") };
        assert_eq!(refused.status(), 401);
    }
    let entered = Client::knock(chat.addr, "/ws/lobby", &[("cookie", &cookie)]).await;
    let (mut ada, _) = entered.expect("a client with the cookie is accepted");
    ada.send_text(r#"{"user":"eve","text":"hello"}"#).await;
    assert_eq!(ada.next_text().await, r#"{"user":"ada","text":"hello"}"#);
}
