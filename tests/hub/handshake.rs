//! The opening handshake: the data that a handler receives, and the decisions that it makes. The tables of
//! `tests/conformance` hold the requests that a hub refuses.

use std::collections::HashSet;

use roomcast::header::{
    self, CONTENT_LENGTH, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_PROTOCOL, SET_COOKIE, TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use roomcast::{Conn, Handler, Hub, Reject, StatusCode, UpgradeRequest};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::http::Response;

use support::{
    Client, KEY, Listening, RawClient, Recorded, TEXT, eventually, frame, serve, upgrade_request,
    within,
};

const HOST: &str = "Host: localhost";
const CONNECTION: &str = "Connection: Upgrade";
const UPGRADE: &str = "Upgrade: websocket";
const VERSION: &str = "Sec-WebSocket-Version: 13";
const WITH_KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const GET: &str = "GET /ws HTTP/1.1";

/// The head of the response to a request with these lines, in lower case.
async fn answer_of(server: &Listening, lines: &[&str]) -> String {
    let mut client = RawClient::open(server.addr).await;
    client.send(format!("{}\r\n\r\n", lines.join("\r\n")).as_bytes()).await;
    client.read_head().await.to_ascii_lowercase()
}

#[tokio::test]
async fn bytes_that_come_with_the_handshake_are_not_lost() {
    let mut server = Recorded::serve(Hub::<u32>::new()).await;
    let mut client = RawClient::open(server.server.addr).await;
    let mut bytes = upgrade_request("/ws").into_bytes();
    for message in 0..3_000 {
        bytes.extend(frame(TEXT, message.to_string().as_bytes()));
    }
    // The last frame is cut; its rest comes after the response.
    let last = bytes.split_off(bytes.len() - 3);
    client.send(&bytes).await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
    client.send(&last).await;
    for expected in 0..3_000 {
        assert_eq!(server.events.message().await.1, expected);
    }
}

#[tokio::test]
async fn client_that_leaves_during_the_handshake_never_becomes_a_connection() {
    let server = Recorded::serve(Hub::<u32>::new()).await;
    for _ in 0..10 {
        let mut client = RawClient::open(server.server.addr).await;
        client.send(&upgrade_request("/ws").as_bytes()[..60]).await;
    }
    let client = Client::connect(server.server.addr, "/ws").await;
    drop(client);
    let hub = &server.hub;
    eventually("all are gone", || hub.stats().disconnected == 1).await;
    assert_eq!(hub.stats().connected, 1);
}

/// A handler that admits requests with the header `x-user`, and attaches its value.
struct Doorkeeper(mpsc::UnboundedSender<Conn<u32>>);

#[derive(Debug, Clone, PartialEq)]
struct User(String);

impl Handler<u32> for Doorkeeper {
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        tokio::task::yield_now().await;
        let Some(user) = request.header("x-user").map(str::to_owned) else {
            let reject = Reject::new(StatusCode::UNAUTHORIZED).with_body("who are you?");
            return Err(reject.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Riddle")));
        };
        if user == "teapot" {
            return Err(StatusCode::IM_A_TEAPOT.into());
        }
        if user == "fine" {
            return Err(Reject::new(StatusCode::OK));
        }
        request.insert(User(user));
        request.insert(7_u64);
        if !request.select_protocol("chat.v9") {
            request.select_protocol("chat.v2");
        }
        Ok(())
    }

    async fn on_connect(&self, conn: &Conn<u32>) -> Result<(), roomcast::Close> {
        let _ = self.0.send(conn.clone());
        Ok(())
    }
}

async fn doorkeeper() -> (Hub<u32>, Listening, mpsc::UnboundedReceiver<Conn<u32>>) {
    let hub = Hub::new();
    let (sender, conns) = mpsc::unbounded_channel();
    let server = serve(hub.handle(Doorkeeper(sender))).await;
    (hub, server, conns)
}

/// The response to a handshake with extra headers.
async fn knock(
    server: &Listening,
    headers: &[(&'static str, &'static str)],
) -> Result<Response<Option<Vec<u8>>>, Error> {
    let (_, response) = Client::knock(server.addr, "/ws/lobby?x=1", headers).await?;
    Ok(response)
}

async fn turned_away(
    server: &Listening,
    headers: &[(&'static str, &'static str)],
) -> Response<Option<Vec<u8>>> {
    match knock(server, headers).await {
        Err(Error::Http(response)) => *response,
        other => panic!("a refusal was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn on_upgrade_refuses_with_a_status_headers_and_a_body() {
    let (hub, server, _conns) = doorkeeper().await;
    let response = turned_away(&server, &[]).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Riddle");
    assert_eq!(response.body().as_deref(), Some(&b"who are you?"[..]));
    assert_eq!(turned_away(&server, &[("x-user", "teapot")]).await.status(), 418);
    let status = turned_away(&server, &[("x-user", "fine")]).await.status();
    assert_eq!(status, 400, "a refusal is an error");
    assert_eq!(hub.stats().connected, 0);
}

#[tokio::test]
async fn refusals_are_counted_by_their_reason() {
    let (hub, server, _conns) = doorkeeper().await;
    turned_away(&server, &[]).await;
    let no_key = [GET, HOST, CONNECTION, UPGRADE, VERSION];
    assert!(answer_of(&server, &no_key).await.starts_with("http/1.1 400 "));
    assert!(answer_of(&server, &[GET, HOST]).await.starts_with("http/1.1 426 "));
    hub.shutdown_now();
    assert_eq!(turned_away(&server, &[("x-user", "u")]).await.status(), 503);
    let stats = hub.stats();
    let refused = (stats.refused_by_handler, stats.refused_malformed, stats.refused_closing);
    assert_eq!(refused, (1, 2, 1));
}

#[tokio::test]
async fn on_upgrade_picks_a_subprotocol_that_the_client_offers() {
    let (_hub, server, _conns) = doorkeeper().await;
    let user = ("x-user", "u");
    let offer = |value| ("sec-websocket-protocol", value);
    let chosen = knock(&server, &[user, offer("chat.v1, chat.v2")]).await.unwrap();
    assert_eq!(chosen.headers()["sec-websocket-protocol"], "chat.v2");
    let chosen = knock(&server, &[user, offer("chat.v2,chat.v9")]).await.unwrap();
    assert_eq!(chosen.headers()["sec-websocket-protocol"], "chat.v9");
    let two_headers = ["Sec-WebSocket-Protocol: chat.v1", "Sec-WebSocket-Protocol: chat.v9"];
    let lines =
        [&[GET, HOST, CONNECTION, UPGRADE, VERSION, WITH_KEY, "X-User: u"][..], &two_headers];
    let head = answer_of(&server, &lines.concat()).await;
    assert!(head.contains("\r\nsec-websocket-protocol: chat.v9\r\n"), "{head}");
    // The client would fail a handshake with a subprotocol that it did not offer.
    let none = knock(&server, &[user]).await.unwrap();
    assert!(!none.headers().contains_key("sec-websocket-protocol"));
}

#[tokio::test]
async fn on_upgrade_attaches_typed_data_that_the_connection_carries() {
    let (hub, server, mut conns) = doorkeeper().await;
    knock(&server, &[("x-user", "ann")]).await.unwrap();
    let conn = within("on_connect", conns.recv()).await.unwrap();
    assert_eq!(conn.get::<User>(), &User("ann".to_owned()));
    assert_eq!(conn.get::<u64>(), &7);
    assert_eq!(conn.try_get::<u8>(), None);
    assert_eq!(conn.hub().count(), hub.count());
}

/// A handler that sets headers of its response.
struct Baker;

impl Handler<u32> for Baker {
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        request.select_protocol("chat");
        let headers = request.response_headers_mut();
        for (name, value) in [
            (SET_COOKIE, "a=1"),
            (SET_COOKIE, "b=2"),
            (header::CONNECTION, "close"),
            (header::UPGRADE, "h2c"),
            (CONTENT_LENGTH, "5"),
            (TRANSFER_ENCODING, "chunked"),
            (SEC_WEBSOCKET_ACCEPT, "forged"),
            (SEC_WEBSOCKET_PROTOCOL, "forged"),
            (SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        match request.query("refuse") {
            Some(_) => Err(StatusCode::FORBIDDEN.into()),
            None => Ok(()),
        }
    }
}

#[tokio::test]
async fn on_upgrade_adds_headers_to_the_response_but_none_of_the_handshake_itself() {
    let hub = Hub::<u32>::new();
    let server = serve(hub.handle(Baker)).await;
    let offer = [("sec-websocket-protocol", "chat")];
    // The client checks the headers that belong to the handshake.
    let (_client, response) = Client::knock(server.addr, "/ws", &offer).await.unwrap();
    let headers = response.headers();
    assert!(headers.get_all("set-cookie").iter().eq(["a=1", "b=2"]));
    assert_eq!(headers["connection"], "upgrade");
    assert_eq!(headers["upgrade"], "websocket");
    assert_eq!(headers["sec-websocket-protocol"], "chat");
    for name in ["content-length", "transfer-encoding", "sec-websocket-extensions"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    let refused = Client::knock(server.addr, "/ws?refuse", &offer).await;
    let Err(Error::Http(response)) = refused else { panic!("it was not refused") };
    assert!(!response.headers().contains_key("set-cookie"), "a refusal has its own headers");
}

/// A handler that reports the parts of a request.
struct Observer(mpsc::UnboundedSender<Vec<String>>);

impl Handler<u32> for Observer {
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        let seen = [
            request.uri().path(),
            request.try_param("room").unwrap_or("none"),
            request.try_param("other").unwrap_or("none"),
            &request.query("token").unwrap_or("none".into()),
            &request.query_all("tag").collect::<Vec<_>>().join("+"),
            request.header("host").unwrap_or("none"),
            &request.headers().contains_key("sec-websocket-key").to_string(),
            &request.protocols().collect::<Vec<_>>().join("+"),
            &request.remote_addr().map_or("none".to_owned(), |addr| addr.ip().to_string()),
            &request.extensions().is_empty().to_string(),
        ];
        let _ = self.0.send(seen.map(str::to_owned).into());
        Err(StatusCode::FORBIDDEN.into())
    }
}

#[tokio::test]
async fn on_upgrade_sees_the_request() {
    let hub = Hub::<u32>::new();
    let (sender, mut seen) = mpsc::unbounded_channel();
    let server = serve(hub.handle(Observer(sender))).await;
    let get = "GET /ws/a%20b?tag=b&token=t%2B+x&%74ag=%C3%A9&tag HTTP/1.1";
    let protocols = "Sec-WebSocket-Protocol: p,, q ,";
    let key = format!("Sec-WebSocket-Key: {KEY}");
    let lines = [get, "Host: h", CONNECTION, UPGRADE, VERSION, &key, protocols];
    assert!(answer_of(&server, &lines).await.starts_with("http/1.1 403 "));
    let seen = within("on_upgrade", seen.recv()).await.unwrap();
    let expected = ["/ws/a%20b", "a b", "none", "t+ x", "b+é+", "h", "true", "p+q", "127.0.0.1"];
    assert_eq!(seen[..9], expected);
}

#[tokio::test]
async fn connection_knows_its_params_query_and_address() {
    let mut server = Recorded::serve(Hub::<u32>::new()).await;
    let path = "/ws/caf%C3%A9%2F1?a=1&b=x%20y+z&a=2&empty=&flag&%C3%A9=e";
    let (client, conn) = server.connect_at(path).await;
    assert_eq!(conn.param("room"), "café/1");
    assert_eq!(conn.try_param("other"), None);
    assert_eq!(conn.query("a").as_deref(), Some("1"), "the first of several");
    assert_eq!(conn.query("b").as_deref(), Some("x y z"));
    assert_eq!(conn.query("empty").as_deref(), Some(""));
    assert_eq!(conn.query("flag").as_deref(), Some(""));
    assert_eq!(conn.query("é").as_deref(), Some("e"));
    assert_eq!(conn.query("c").unwrap_or("default".into()), "default");
    assert!(conn.query_all("a").eq(["1", "2"]), "in their order");
    assert_eq!(conn.query_all("c").count(), 0);
    let addr = client.0.get_ref().local_addr().unwrap();
    assert_eq!(conn.remote_addr(), Some(addr));
    assert_eq!(conn.try_get::<User>(), None);

    let (_client, conn) = server.connect().await;
    assert_eq!(conn.try_param("room"), None);
    assert_eq!(conn.query("a"), None, "there is no query at all");
    assert_eq!(conn.query_all("a").count(), 0);
}

#[tokio::test]
async fn ids_are_unique_and_never_used_again() {
    let mut server = Recorded::serve(Hub::<u32>::builder().shards(3).build().unwrap()).await;
    let mut ids = Vec::new();
    for round in 0..20 {
        let (client, conn) = server.connect().await;
        ids.push(conn.id());
        if round % 2 == 0 {
            drop(client);
            server.events.ended().await;
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20);
}

#[tokio::test]
async fn connection_equals_only_its_clones() {
    let mut server = Recorded::serve(Hub::<u32>::new()).await;
    let (_a, a) = server.connect().await;
    let (_b, b) = server.connect().await;
    #[expect(clippy::mutable_key_type, reason = "connections are hashed by their id")]
    let conns: HashSet<_> = [a.clone(), b.clone(), a.clone()].into_iter().collect();
    assert_eq!(conns.len(), 2);
    assert!(conns.contains(&a) && a != b);
}
