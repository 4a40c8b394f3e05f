//! The ways to serve a hub: the server of this crate, a plain hyper service, and streams that are not sockets.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use roomcast::{
    Conn, Hub, PathParams, Raw, RawMessage, RemoteAddr, Request, Response, Server, ServerError,
    StatusCode,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use support::{
    CLOSE, Client, Events, Listening, PONG, RawClient, Recorder, TEXT, bind, eventually, frame,
    frames, parse_close, upgrade_request, within,
};

fn echo(hub: &Hub<u32>) -> roomcast::Endpoint<roomcast::Handlers<u32, u32>, u32> {
    hub.handle(hub.handlers().on_message(|conn, number| async move {
        conn.try_send(&number).unwrap();
    }))
}

fn text(text: &str) -> Response {
    Response::new(text.to_owned().into())
}

/// The head and the body of the response to a GET.
async fn get(server: &Listening, path: &str) -> (String, String) {
    let mut client = RawClient::open(server.addr).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    client.send(request.as_bytes()).await;
    let head = client.read_head().await;
    let body = client.read_to_end().await;
    (head, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn hub_can_be_a_part_of_a_plain_hyper_service() {
    let hub = Hub::<u32>::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (recorder, mut events) = Recorder::new();
    let recorder = std::sync::Arc::new(recorder);
    let serving = hub.clone();
    let server = tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let (hub, recorder) = (serving.clone(), recorder.clone());
            let service = service_fn(move |mut request: Request<Incoming>| {
                let (hub, recorder) = (hub.clone(), recorder.clone());
                async move {
                    if request.uri().path() != "/chat" {
                        return Ok::<_, Infallible>(text("a page"));
                    }
                    request.extensions_mut().insert(RemoteAddr(peer));
                    let params: PathParams = [("room", "lobby")].into_iter().collect();
                    request.extensions_mut().insert(params);
                    Ok(hub.upgrade(request, recorder).await)
                }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    let mut client = Client::connect(addr, "/chat?q=1").await;
    let conn = events.open().await;
    assert_eq!(conn.remote_addr(), client.0.get_ref().local_addr().ok());
    assert_eq!(conn.param("room"), "lobby");
    assert_eq!(conn.query("q").as_deref(), Some("1"));
    client.send_text("1").await;
    assert_eq!(events.message().await.1, 1);
    hub.try_broadcast(&2).unwrap();
    assert_eq!(client.get::<u32>().await, 2);
    hub.shutdown_now();
    assert_eq!(client.closed().await.0, 1_001);
    server.abort();
}

/// Serves a hub over one end of an in-memory pipe of `bytes`, and returns the other end.
async fn pipe(bytes: usize) -> (Hub<RawMessage>, DuplexStream, Events<RawMessage>) {
    let hub = Hub::with_codec(Raw).send_buffer_bytes(16 << 20).max_message_bytes(4 << 20);
    let hub = hub.build().unwrap();
    let (ours, theirs) = tokio::io::duplex(bytes);
    let (recorder, events) = Recorder::new();
    let endpoint = hub.handle(recorder);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(theirs), endpoint);
    tokio::spawn(connection.with_upgrades());
    (hub, ours, events)
}

#[tokio::test]
async fn connection_works_over_any_stream() {
    let (hub, stream, mut events) = pipe(1_000).await;
    let mut client = Client::over(stream, "/").await.unwrap();
    let conn: Conn<RawMessage> = events.open().await;
    assert_eq!(conn.remote_addr(), None);
    for size in [0, 1, 999, 1_000, 70_000, 3_000_000] {
        let bytes: Bytes = (0..size).map(|at| at as u8).collect();
        client.send(Message::Binary(bytes.clone())).await;
        let (_, message) = events.message().await;
        assert!(message == RawMessage::Binary(bytes.clone()), "{size} bytes in");
        conn.try_send(&message).unwrap();
        assert!(client.next_data().await == Message::Binary(bytes), "{size} bytes out");
    }
    client.send(Message::Ping("p".into())).await;
    assert_eq!(client.next().await, Some(Message::Pong("p".into())));
    hub.shutdown_now();
    assert_eq!(client.closed().await.0, 1_001);
    within("all have ended", hub.closed()).await;
}

#[tokio::test]
async fn client_over_any_stream_may_read_late() {
    let (hub, stream, mut events) = pipe(100).await;
    let mut client = Client::over(stream, "/").await.unwrap();
    let conn = events.open().await;
    for message in 0..10 {
        hub.try_broadcast(&RawMessage::Text(format!("{message:05}").repeat(100))).unwrap();
        // Each message is a separate delivery, and only a fifth of the first message fits into the pipe.
        conn.rooms().await;
    }
    eventually("all are queued", || hub.stats().deliveries == 10).await;
    for message in 0..10 {
        assert_eq!(client.next_text().await, format!("{message:05}").repeat(100));
    }
    assert_eq!(hub.stats().evictions(), 0);
}

#[tokio::test]
async fn client_over_any_stream_that_does_not_read_is_evicted() {
    let hub = Hub::<u32>::builder().send_buffer_bytes(64).shards(1).build().unwrap();
    let (mut ours, theirs) = tokio::io::duplex(200);
    let (recorder, mut events) = Recorder::new();
    let connection = http1::Builder::new()
        .serve_connection(TokioIo::new(theirs), hub.handle(recorder))
        .with_upgrades();
    tokio::spawn(connection);
    ours.write_all(upgrade_request("/").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("a response", ours.read_u8()).await.unwrap());
    }
    let conn = events.open().await;
    let mut published = 0;
    while hub.stats().evictions() == 0 {
        assert!(published < 10_000, "the pipe is full");
        hub.try_broadcast(&published).unwrap();
        published += 1;
        conn.rooms().await;
    }
    let (ended, reason) = events.ended().await;
    assert_eq!(ended.id(), conn.id());
    assert!(matches!(reason, roomcast::DisconnectReason::SlowClient { .. }), "{reason}");
    let mut rest = Vec::new();
    within("the end", ours.read_to_end(&mut rest)).await.unwrap();
    let mut frames = frames(&rest);
    let (first, close) = frames.pop().expect("a close frame comes last");
    assert_eq!((first, parse_close(close).0), (CLOSE, 1_008));
    for (expected, (first, payload)) in frames.iter().enumerate() {
        assert_eq!((*first, str::from_utf8(payload)), (TEXT, Ok(&*expected.to_string())));
    }
    assert!(frames.len() < published as usize, "the queued messages are lost");
}

#[tokio::test]
async fn bytes_that_come_with_the_handshake_over_any_stream_are_not_lost() {
    let (_hub, mut stream, mut events) = pipe(100_000).await;
    let mut bytes = upgrade_request("/").into_bytes();
    for message in 0..500 {
        bytes.extend(frame(TEXT, message.to_string().as_bytes()));
    }
    stream.write_all(&bytes).await.unwrap();
    for message in 0..500 {
        assert_eq!(events.message().await.1, RawMessage::Text(message.to_string()));
    }
}

#[tokio::test]
async fn several_hubs_share_a_server() {
    let (numbers, words) = (Hub::<u32>::new(), Hub::<String>::new());
    let (recorder, mut events) = Recorder::new();
    let server = bind().await;
    let server = server.route("/numbers", numbers.handle(recorder)).unwrap();
    let handlers = words.handlers().on_message(|conn, word| async move {
        conn.try_send(&word.to_uppercase()).unwrap();
    });
    let server = Listening::run(server.route("/words/{*rest}", words.handle(handlers)).unwrap());
    let mut number = Client::connect(server.addr, "/numbers").await;
    events.open().await;
    let mut word = Client::connect(server.addr, "/words/a/b").await;
    word.send_text("\"w\"").await;
    assert_eq!(word.get::<String>().await, "W");
    numbers.try_broadcast(&1).unwrap();
    words.try_broadcast(&"x".to_owned()).unwrap();
    assert_eq!(number.get::<u32>().await, 1);
    assert_eq!(word.get::<String>().await, "x");
    assert_eq!((numbers.count(), words.count()), (1, 1));
    numbers.shutdown_now();
    assert_eq!(number.closed().await.0, 1_001);
    word.send_text("\"on\"").await;
    assert_eq!(word.get::<String>().await, "ON", "the other hub goes on");
}

#[tokio::test]
async fn unknown_route_gets_404() {
    let hub = Hub::<u32>::new();
    let server = Listening::run(bind().await.route("/ws", echo(&hub)).unwrap());
    for path in ["/", "/other", "/ws/", "/ws/room"] {
        assert!(get(&server, path).await.0.starts_with("HTTP/1.1 404 "), "{path}");
    }
    assert!(get(&server, "/ws").await.0.starts_with("HTTP/1.1 426 "));
}

#[tokio::test]
async fn fallback_serves_what_no_route_matches() {
    let hub = Hub::<u32>::new();
    let pages = service_fn(|request: Request<Incoming>| async move {
        let addr = request.extensions().get::<RemoteAddr>().expect("the server tells it").0;
        assert!(request.extensions().get::<PathParams>().is_none());
        Ok::<_, Infallible>(text(&format!("{} for {}", request.uri().path(), addr.ip())))
    });
    let server = bind().await.fallback(pages).route("/ws", echo(&hub)).unwrap();
    let server = Listening::run(server);
    let (head, body) = get(&server, "/page?x").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body, "/page for 127.0.0.1");
    let mut client = Client::connect(server.addr, "/ws").await;
    client.send_text("1").await;
    assert_eq!(client.get::<u32>().await, 1);
}

#[tokio::test]
async fn service_error_is_a_500_and_service_panic_ends_its_connection_alone() {
    let failing = service_fn(|request: Request<Incoming>| async move {
        assert!(!request.uri().path().ends_with("panic"), "a panic that the test wants");
        Err::<Response, _>("no page today")
    });
    let server = Listening::run(bind().await.fallback(failing));
    let (head, body) = get(&server, "/").await;
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
    assert!(!body.contains("today"), "the response hides the cause");
    let mut client = RawClient::open(server.addr).await;
    client.send(b"GET /panic HTTP/1.1\r\nHost: h\r\n\r\n").await;
    client.ended().await;
    assert!(get(&server, "/").await.0.starts_with("HTTP/1.1 500 "));
}

#[tokio::test]
async fn parameters_of_a_path_are_percent_decoded() {
    let params = service_fn(|request: Request<Incoming>| async move {
        let params = request.extensions().get::<PathParams>().expect("the router finds them");
        let found = [params.get("a"), params.get("b"), params.get("rest"), params.get("c")];
        Ok::<_, Infallible>(text(&format!("{found:?}")))
    });
    let server = bind().await.service("/two/{a}/{b}", params).unwrap();
    let server = Listening::run(server.service("/all/{a}.txt/{*rest}", params).unwrap());
    for (path, found) in [
        ("/two/x/y", r#"[Some("x"), Some("y"), None, None]"#),
        ("/two/%C3%A9%20%2F/%25", r#"[Some("é /"), Some("%"), None, None]"#),
        ("/two/a+b/%", r#"[Some("a+b"), Some("%"), None, None]"#),
        ("/all/n.txt/1/2%3F", r#"[Some("n"), None, Some("1/2?"), None]"#),
    ] {
        let (head, body) = get(&server, path).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        assert_eq!(body, found, "{path}");
    }
    let (head, _) = get(&server, "/two/x/%FF").await;
    assert!(head.starts_with("HTTP/1.1 400 "), "not UTF-8: {head}");
}

#[tokio::test]
async fn invalid_routes_are_errors() {
    let hub = Hub::<u32>::new();
    let server = bind().await.route("/ws/{room}", echo(&hub)).unwrap();
    let Err(error) = server.route("/ws/{name}", echo(&hub)) else { panic!("they collide") };
    assert_eq!(error.to_string(), r#"route "/ws/{name}" not added"#);
    assert!(std::error::Error::source(&error).is_some());
    assert!(bind().await.route("/ws/{", echo(&hub)).is_err(), "malformed");
}

#[tokio::test]
async fn address_in_use_is_an_error() {
    let server = bind().await;
    let taken = server.local_addr().unwrap();
    assert_ne!(taken.port(), 0);
    assert!(matches!(Server::bind(taken).await, Err(ServerError::Bind(_))));
    assert!(matches!(Server::bind("not an address").await, Err(ServerError::Bind(_))));
}

#[tokio::test]
async fn connections_go_on_when_the_server_stops() {
    let hub = Hub::<u32>::new();
    let server = Listening::run(bind().await.route("/ws", echo(&hub)).unwrap());
    let addr = server.addr;
    let mut client = Client::connect(addr, "/ws").await;
    drop(server);
    within("nobody listens any more", async {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    client.send_text("1").await;
    assert_eq!(client.get::<u32>().await, 1);
}

#[tokio::test]
async fn one_connection_may_ask_for_pages_before_it_upgrades() {
    let hub = Hub::<u32>::new();
    let pages = service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(text("page")) });
    let server = bind().await.route("/ws", echo(&hub)).unwrap().fallback(pages);
    let server = Listening::run(server);
    let mut client = RawClient::open(server.addr).await;
    for path in ["/", "/ws"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await;
        let head = client.read_head().await;
        assert!(!head.contains("101"), "{head}");
        let length = if path == "/" { 4 } else { "WebSocket upgrade required".len() };
        client.skip(length).await;
    }
    client.send(upgrade_request("/ws").as_bytes()).await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
    client.send(&frame(TEXT, b"5")).await;
    assert_eq!(client.read_frame().await, Some((TEXT, b"5".to_vec())));
    client.send(&frame(0x89, b"p")).await;
    assert_eq!(client.read_frame().await, Some((PONG, b"p".to_vec())));
    client.send(&frame(CLOSE, b"")).await;
    assert_eq!(client.closed().await.0, 1_005);
}

/// The deadline is the server's default of five seconds, so this test takes five seconds.
#[tokio::test]
async fn request_head_that_does_not_end_closes_its_connection_after_five_seconds() {
    let hub = Hub::<u32>::new();
    let server = Listening::run(bind().await.route("/ws", echo(&hub)).unwrap());
    let began = Instant::now();
    let mut silent = RawClient::open(server.addr).await;
    let mut slow = RawClient::open(server.addr).await;
    slow.send(b"GET /ws HTTP/1.1\r\nHost").await;
    let mut upgraded = RawClient::connect(server.addr).await;
    tokio::join!(slow.ended(), silent.ended());
    let took = began.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(9), "{took:?}");
    upgraded.send(&frame(TEXT, b"1")).await;
    assert_eq!(
        upgraded.read_frame().await,
        Some((TEXT, b"1".to_vec())),
        "the head timeout no longer applies"
    );
}

#[tokio::test]
async fn status_codes_are_named_by_the_crate() {
    // With this re-export a program needs no other crate to refuse a handshake.
    assert_eq!(roomcast::Reject::new(StatusCode::FORBIDDEN).status(), StatusCode::FORBIDDEN);
}
