//! Listening, and the shutdown of a server together with its hubs.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use roomcast::header::{HeaderName, HeaderValue};
use roomcast::{Conn, Hub, Request, Response, Server, ServerError, Shutdown, ShutdownReport};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use support::folder::Folder;
use support::{
    Client, RawClient, Recorder, TEXT, bind, eventually, frame, upgrade_request, within,
};

const LONG: Duration = Duration::from_secs(60);

/// A server that ends when the test sends a message.
struct Running {
    addr: SocketAddr,
    end: oneshot::Sender<()>,
    report: JoinHandle<ShutdownReport>,
}

impl Running {
    fn start(server: Server, how: Shutdown) -> Self {
        let addr = server.local_addr().unwrap();
        let (end, told) = oneshot::channel();
        let signal = async move { told.await.unwrap() };
        Self { addr, end, report: tokio::spawn(server.run_until(signal, how)) }
    }
}

fn echo(hub: &Hub<u32>) -> roomcast::Endpoint<roomcast::Handlers<u32, u32>, u32> {
    hub.handle(hub.handlers().on_message(|conn: Conn<u32>, number| async move {
        conn.try_send(&number).unwrap();
    }))
}

async fn status(addr: SocketAddr, path: &str) -> String {
    let mut client = RawClient::open(addr).await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await;
    let head = client.read_head().await;
    head.split(' ').nth(1).expect("a status").to_owned()
}

async fn is_refused(addr: SocketAddr) {
    within("nobody listens any more", async {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn server_in_its_first_phase_is_not_ready_and_serves_until_its_hub_closes() {
    let hub = Hub::<u32>::new();
    let server = bind().await.route("/ws", echo(&hub)).unwrap().health("/healthz").unwrap();
    let how = Shutdown::within(3 * LONG).not_ready_for(LONG);
    let Running { addr, end, report } = Running::start(server, how);
    let mut early = Client::connect(addr, "/ws").await;
    assert_eq!((status(addr, "/healthz").await.as_str(), hub.is_ready()), ("200", true));

    end.send(()).unwrap();
    eventually("it is not ready", || !hub.is_ready()).await;
    assert_eq!(status(addr, "/healthz").await, "503");
    assert!(!hub.is_closing(), "clients that do not check the health are served");
    let mut late = Client::connect(addr, "/ws").await;
    for client in [&mut early, &mut late] {
        client.send_text("7").await;
        assert_eq!(client.get::<u32>().await, 7);
    }

    // A second call does not wait for the end of the first phase.
    let other =
        within("it is over", hub.shutdown(Shutdown::within(LONG).spread_over(Duration::ZERO)));
    assert_eq!(other.await.connections, 2);
    for client in [&mut early, &mut late] {
        assert_eq!(client.closed().await.0, 1_001);
    }
    let report = within("the server ends", report).await.unwrap();
    assert!(report.is_clean() && report.took < LONG, "{report}");
    is_refused(addr).await;
}

#[tokio::test]
async fn first_phase_ends_by_itself_or_at_the_deadline() {
    for (deadline, not_ready) in [(LONG, 100), (Duration::from_millis(100), 60_000)] {
        let hub = Hub::<u32>::new();
        let server = bind().await.route("/ws", echo(&hub)).unwrap();
        let how = Shutdown::within(deadline).not_ready_for(Duration::from_millis(not_ready));
        let Running { addr, end, report } = Running::start(server, how.spread_over(Duration::ZERO));
        let mut client = Client::connect(addr, "/ws").await;
        end.send(()).unwrap();
        assert_eq!(client.closed().await.0, 1_001);
        let report = within("the server ends", report).await.unwrap();
        assert!(report.took >= Duration::from_millis(100), "{report}");
        assert!(hub.is_closed());
    }
}

#[tokio::test]
async fn response_in_progress_is_finished_and_idle_connections_delay_nothing() {
    let (asked, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let slow = service_fn({
        let (asked, gate) = (asked.clone(), gate.clone());
        move |request: Request<Incoming>| {
            let (asked, gate) = (asked.clone(), gate.clone());
            async move {
                if request.uri().path() == "/slow" {
                    asked.add_permits(1);
                    gate.acquire().await.unwrap().forget();
                }
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"page"))))
            }
        }
    });
    let Running { addr, end, report } = Running::start(bind().await.fallback(slow), LONG.into());
    let mut idle = RawClient::open(addr).await;
    idle.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    idle.read_head().await;
    idle.skip(4).await;
    let mut client = RawClient::open(addr).await;
    client.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await;
    asked.acquire().await.unwrap().forget();

    end.send(()).unwrap();
    within("the idle one ends", idle.ended()).await;
    is_refused(addr).await;
    assert!(!report.is_finished());
    gate.add_permits(1);
    assert!(client.read_head().await.starts_with("HTTP/1.1 200 "));
    client.skip(4).await;
    within("the connection is not kept", client.ended()).await;
    within("the server ends", report).await.unwrap();
}

#[tokio::test]
async fn client_without_its_proxy_header_does_not_delay_the_shutdown() {
    let server = bind().await.proxy_protocol(["127.0.0.1/32".parse().unwrap()]).head_timeout(LONG);
    let monitor = server.monitor();
    let Running { addr, end, report } = Running::start(server, (2 * LONG).into());
    let mut silent = RawClient::open(addr).await;
    eventually("it is accepted", || monitor.stats().accepted == 1).await;
    end.send(()).unwrap();
    within("the silent one ends", silent.ended()).await;
    within("the server ends", report).await.unwrap();
}

#[tokio::test]
async fn all_hubs_of_a_server_end_with_it_each_once() {
    let (routed, layered) = (Hub::<u32>::new(), Hub::<String>::new());
    let (recorder, mut events) = Recorder::new();
    let endpoint = routed.handle(recorder);
    let inner = layered.handle(layered.handlers());
    let layer = service_fn(move |request: Request<Incoming>| {
        hyper::service::Service::call(&inner, request)
    });
    let server = bind().await.route("/a", endpoint.clone()).unwrap().route("/b", endpoint).unwrap();
    let server = server.service("/layered", layer).unwrap().ends(&layered);
    let Running { addr, end, report } = Running::start(server, LONG.into());
    let mut clients = Vec::new();
    for path in ["/a", "/b", "/layered"] {
        clients.push(Client::connect(addr, path).await);
    }
    events.open().await;
    events.open().await;
    eventually("it is open, too", || layered.count() == 1).await;
    end.send(()).unwrap();
    for client in &mut clients {
        assert_eq!(client.closed().await, (1_001, "hub shut down".to_owned()));
    }
    let report = within("the server ends", report).await.unwrap();
    assert_eq!(report.connections, 3);
    assert!(report.is_clean() && routed.is_closed() && layered.is_closed(), "{report}");
}

#[tokio::test]
async fn name_with_several_addresses_is_served_on_all_of_them() {
    let addrs = [SocketAddr::from(([127, 0, 0, 1], 0)), SocketAddr::from(([127, 0, 0, 2], 0))];
    let hub = Hub::<u32>::new();
    let server = Server::bind(&addrs[..]).await.unwrap().route("/ws", echo(&hub)).unwrap();
    let port = server.local_addr().unwrap().port();
    let server = tokio::spawn(server.run());
    for addr in addrs {
        let mut client = Client::connect((addr.ip(), port).into(), "/ws").await;
        client.send_text("5").await;
        assert_eq!(client.get::<u32>().await, 5);
    }
    server.abort();
}

#[tokio::test]
async fn both_address_families_are_served_and_a_missing_family_is_skipped() {
    let any: [SocketAddr; 2] = ["[::]:0".parse().unwrap(), "0.0.0.0:0".parse().unwrap()];
    let server = Server::bind(&any[..]).await.unwrap();
    let port = server.local_addr().unwrap().port();
    let taken = TcpListener::bind(("127.0.0.1", port)).await;
    assert!(taken.is_err(), "IPv4 is one of them");
    // A documentation address (RFC 5737), which no machine has.
    let partly = ["192.0.2.1:0".parse().unwrap(), SocketAddr::from(([127, 0, 0, 1], 0))];
    assert!(Server::bind(&partly[..]).await.unwrap().local_addr().unwrap().ip().is_loopback());
    assert!(matches!(Server::bind("192.0.2.1:0").await, Err(ServerError::Bind(_))));
}

#[tokio::test]
async fn one_taken_address_is_an_error_although_another_is_free() {
    let taken = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let addrs =
        [SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([127, 0, 0, 2], port))];
    assert!(matches!(Server::bind(&addrs[..]).await, Err(ServerError::Bind(_))));
}

#[tokio::test]
async fn hub_is_served_over_a_unix_socket_beside_tcp() {
    let folder = Folder::new();
    let path = folder.path().join("chat.sock");
    let (recorder, mut events) = Recorder::<u32>::new();
    let hub = Hub::<u32>::builder().max_connections_per_addr(1).build().unwrap();
    let server = bind().await.listen_on(UnixListener::bind(&path).unwrap());
    let server = server.route("/ws", hub.handle(recorder)).unwrap();
    let addr = server.local_addr().unwrap();
    let server = tokio::spawn(server.run());
    let mut tcp = Client::connect(addr, "/ws").await;
    assert!(events.open().await.remote_addr().is_some());
    let mut unix = Vec::new();
    for _ in 0..2 {
        let stream = UnixStream::connect(&path).await.unwrap();
        let url = format!("ws://{addr}/ws");
        unix.push(tokio_tungstenite::client_async(url, stream).await.unwrap().0);
        assert_eq!(events.open().await.remote_addr(), None);
    }
    hub.try_broadcast(&3).unwrap();
    assert_eq!(tcp.get::<u32>().await, 3);
    for client in unix {
        let mut client = Client(client);
        assert_eq!(client.get::<u32>().await, 3);
    }
    server.abort();
}

#[tokio::test]
async fn proxy_on_a_unix_socket_gives_the_client_address() {
    let folder = Folder::new();
    let path = folder.path().join("chat.sock");
    let (recorder, mut events) = Recorder::<u32>::new();
    let hub = Hub::<u32>::builder().max_connections_per_addr(1).build().unwrap();
    let header = HeaderName::from_static("x-forwarded-for");
    let server = Server::bind_unix(&path).await.unwrap().trust_forwarded(header, []);
    let monitor = server.monitor();
    let server = tokio::spawn(server.route("/ws", hub.handle(recorder)).unwrap().run());
    let knock = async |forwarded: Option<&'static str>| {
        let mut request = "ws://localhost/ws".into_client_request().unwrap();
        let forwarded = forwarded.map(HeaderValue::from_static);
        forwarded.map(|client| request.headers_mut().insert("x-forwarded-for", client));
        let stream = UnixStream::connect(&path).await.unwrap();
        tokio_tungstenite::client_async(request, stream).await
    };
    let _named = knock(Some("192.0.2.1, 192.0.2.7")).await.unwrap();
    let addr = events.open().await.remote_addr().map(|addr| addr.ip().to_string());
    assert_eq!(addr.as_deref(), Some("192.0.2.7"));
    assert!(knock(Some("192.0.2.7")).await.is_err(), "one connection for each address");
    let _unnamed = knock(None).await.unwrap();
    assert_eq!(events.open().await.remote_addr(), None);
    assert_eq!(monitor.stats().clients_unnamed, 1);
    server.abort();
}

#[tokio::test]
async fn stale_unix_socket_is_replaced_and_no_other_file_is() {
    let folder = Folder::new();
    let path = folder.path().join("chat.sock");
    let server = Server::bind_unix(&path).await.unwrap();
    assert_eq!(server.local_addr().unwrap_err().kind(), std::io::ErrorKind::Unsupported);
    assert!(matches!(Server::bind_unix(&path).await, Err(ServerError::Bind(_))), "in use");
    drop(server);
    assert!(path.exists());
    drop(Server::bind_unix(&path).await.expect("the path is free"));
    let file = folder.path().join("file");
    std::fs::write(&file, "of somebody").unwrap();
    assert!(matches!(Server::bind_unix(&file).await, Err(ServerError::Bind(_))));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "of somebody");
}

#[tokio::test]
async fn server_without_a_shutdown_signal_keeps_serving() {
    let hub = Hub::<u32>::new();
    let server = bind().await.route("/ws", echo(&hub)).unwrap();
    let addr = server.local_addr().unwrap();
    let server = tokio::spawn(server.run_until(pending(), Duration::ZERO));
    let mut client = RawClient::open(addr).await;
    client.send(upgrade_request("/ws").as_bytes()).await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
    client.send(&frame(TEXT, b"4")).await;
    assert_eq!(client.read_frame().await.unwrap().1, b"4");
    server.abort();
}
