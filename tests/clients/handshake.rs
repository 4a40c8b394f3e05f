//! The handshake: the clients that are accepted, and the data that the handler receives.

use std::net::SocketAddr;

use roomcast::header::{HeaderName, HeaderValue, SET_COOKIE};
use roomcast::test::{ConnectError, TestServer};
use roomcast::{Close, CloseCode, Conn, Handler, Hub, Reject, Server, StatusCode, UpgradeRequest};

/// A handler that sends to each client the data that the server has of it.
struct About;

impl Handler<Vec<String>> for About {
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        if request.header("authorization") != Some("Bearer secret") {
            return Err(Reject::new(StatusCode::UNAUTHORIZED).with_body("who are you?"));
        }
        request.select_protocol("v2");
        request.response_headers_mut().insert(SET_COOKIE, HeaderValue::from_static("seen=1"));
        Ok(())
    }

    async fn on_connect(&self, conn: &Conn<Vec<String>>) -> Result<(), Close> {
        let query = conn.query("q").map(|value| value.into_owned());
        let addr = conn.remote_addr().map(|addr| addr.to_string());
        let about: Vec<String> = [query, addr].into_iter().flatten().collect();
        conn.send(&about).await?;
        Ok(())
    }
}

fn server(hub: &Hub<Vec<String>>) -> TestServer<Vec<String>> {
    TestServer::new("/ws/{room}", hub.handle(About))
}

#[tokio::test(start_paused = true)]
async fn handler_sees_the_request_and_the_client_the_response() {
    let hub = Hub::new();
    let addr: SocketAddr = "192.0.2.7:1234".parse().unwrap();
    let connecting = server(&hub).connect("/ws/tea?q=a%20b").remote_addr(addr);
    let connecting = connecting.header("authorization", "Bearer secret");
    let mut client = connecting.header("sec-websocket-protocol", "v1, v2").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), ["a b", "192.0.2.7:1234"]);
    let headers = client.response().headers();
    assert_eq!(headers["sec-websocket-protocol"], "v2");
    assert_eq!(headers["set-cookie"], "seen=1");
    // The answer to the key of RFC 6455, section 1.3.
    let client = server(&hub).connect("/ws/tea").header("authorization", "Bearer secret");
    let client = client.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").await.unwrap();
    let answer = &client.response().headers()["sec-websocket-accept"];
    assert_eq!(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[tokio::test(start_paused = true)]
async fn refusals_carry_status_and_body() {
    let hub = Hub::new();
    let server = server(&hub);
    let refused = server.connect("/ws/tea").await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::UNAUTHORIZED));
    assert_eq!(refused.response().unwrap().body().as_bytes(), b"who are you?");
    for (path, name, value, status) in [
        ("/ws", "accept", "*/*", StatusCode::NOT_FOUND),
        ("/ws/%FF", "accept", "*/*", StatusCode::BAD_REQUEST),
        ("/ws/tea", "origin", "https://evil.example", StatusCode::FORBIDDEN),
        ("/ws/tea", "host", "a b", StatusCode::BAD_REQUEST),
        ("/ws/tea", "sec-websocket-version", "8", StatusCode::UPGRADE_REQUIRED),
        ("/ws/tea", "sec-websocket-key", "short", StatusCode::BAD_REQUEST),
    ] {
        let refused = server.connect(path).header(name, value).await.unwrap_err();
        assert_eq!(refused.status(), Some(status), "{path}, {name}: {value}");
    }
    assert_eq!(hub.stats().refused_origins, 1);
    assert_eq!(hub.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn on_connect_that_refuses_or_panics_closes_the_client() {
    let hub = Hub::<String>::new();
    let refusing = hub.handlers().on_connect(async |conn| {
        assert_eq!(conn.query("name").as_deref(), Some("ann"), "panics");
        Err(Close::new(CloseCode::from(4_000), "not today"))
    });
    let server = TestServer::new("/", hub.handle(refusing));
    let mut ann = server.connect("/?name=ann").await.unwrap();
    assert_eq!(ann.closed().await, Close::new(CloseCode::from(4_000), "not today"));
    let mut bob = server.connect("/?name=bob").await.unwrap();
    assert_eq!(bob.closed().await.code, CloseCode::INTERNAL);
}

#[tokio::test(start_paused = true)]
async fn limits_of_the_hub_and_the_server_hold() {
    let hub = Hub::<u32>::builder().max_connections_per_addr(2).build().unwrap();
    let server = Server::in_memory().max_uri_bytes(100);
    let monitor = server.monitor();
    let server = server.route("/ws", hub.handle(hub.handlers())).unwrap();
    let server = TestServer::<u32>::of(server);
    let _two = [server.connect("/ws").await.unwrap(), server.connect("/ws").await.unwrap()];
    let refused = server.connect("/ws").await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::TOO_MANY_REQUESTS));
    let elsewhere = server.connect("/ws").remote_addr("192.0.2.1:1".parse().unwrap());
    elsewhere.await.unwrap();
    let long = server.connect(&format!("/ws?{}", "x".repeat(100))).await.unwrap_err();
    assert_eq!(long.status(), Some(StatusCode::URI_TOO_LONG));
    assert_eq!((monitor.stats().accepted, monitor.stats().uris_too_long), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn full_server_sends_no_response() {
    let hub = Hub::<u32>::new();
    let server = Server::in_memory().max_pending(0);
    let monitor = server.monitor();
    let server = server.route("/ws", hub.handle(hub.handlers())).unwrap();
    let error = TestServer::<u32>::of(server).connect("/ws").await.unwrap_err();
    assert!(matches!(error, ConnectError::NoResponse(_)), "{error:?}");
    assert_eq!(monitor.stats().refused_full, 1);
}

#[tokio::test]
async fn server_of_an_application_serves_test_clients_without_a_port() {
    let hub = Hub::<Vec<String>>::new();
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap();
    let forwarded = HeaderName::from_static("x-forwarded-for");
    let server = server.route("/ws/{room}", hub.handle(About)).unwrap();
    let server = server.trust_forwarded(forwarded, ["127.0.0.0/8".parse().unwrap()]);
    let server = TestServer::<Vec<String>>::of(server);
    std::net::TcpStream::connect(addr).expect_err("nobody listens");
    let client = server.connect("/ws/tea").header("authorization", "Bearer secret");
    let mut client = client.header("x-forwarded-for", "198.51.100.1").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), ["198.51.100.1:0"]);
}

#[tokio::test]
#[should_panic(expected = "/ws/{")]
async fn malformed_path_of_a_route_panics() {
    let hub = Hub::<u32>::new();
    TestServer::new("/ws/{", hub.handle(hub.handlers()));
}
