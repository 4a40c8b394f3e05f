//! `wss://`: the server's own TLS, with clients of rustls and tungstenite.

mod ends;
mod info;
mod proxy;

use std::error::Error as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use roomcast::{DisconnectReason, Hub, Raw, RawMessage, Server, ServerMonitor, Tls, TlsError};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, RootCertStore, SupportedProtocolVersion};
use support::{
    Client, Listening, Recorded, TEXT, bind, eventually, frame, upgrade_request, within,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;

/// The files of a certificate for `localhost`; dropping the value deletes their folder.
struct Files {
    folder: PathBuf,
    certificate: CertificateDer<'static>,
}

impl Files {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("roomcast-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let mut files = Self { folder, certificate: CertificateDer::from(Vec::new()) };
        files.renew();
        files
    }

    /// Writes another certificate, with a key of its own.
    fn renew(&mut self) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        self.write("cert.pem", &cert.pem());
        self.write("key.pem", &signing_key.serialize_pem());
        self.certificate = cert.into();
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn load(&self) -> Result<Tls, TlsError> {
        Tls::from_pem_files(self.path("cert.pem"), self.path("key.pem"))
    }

    /// Connects, and trusts only the current certificate.
    async fn connect(&self, addr: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(addr).await.expect("the server listens");
        self.shake_hands(stream, &[&TLS12, &TLS13]).await
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a certificate");
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions of the provider")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").expect("a name");
        within("TLS", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn hub() -> Hub<RawMessage> {
    Hub::with_codec(Raw).max_message_bytes(4 << 20).build().expect("a hub")
}

async fn over_tls(hub: Hub<RawMessage>, tls: &Tls) -> Recorded<RawMessage> {
    Recorded::serve_on(bind().await.tls(tls), hub)
}

async fn client(files: &Files, addr: SocketAddr) -> Client<TlsStream<TcpStream>> {
    let stream = files.connect(addr).await.expect("the certificate is trusted");
    Client::over(stream, "/ws").await.expect("the handshake succeeds")
}

#[tokio::test]
async fn messages_of_any_size_go_both_ways_with_both_versions() {
    let files = Files::new("both");
    let mut recorded = over_tls(hub(), &files.load().expect("good files")).await;
    for version in [&TLS12, &TLS13] {
        let stream = TcpStream::connect(recorded.server.addr).await.expect("the server listens");
        let stream = files.shake_hands(stream, &[version]).await.expect("a version of ours");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut client = Client::over(stream, "/ws").await.expect("a handshake");
        let conn = recorded.events.open().await;
        assert!(conn.remote_addr().is_some_and(|addr| addr.ip().is_loopback()));
        for length in [0, 1, 125, 126, 16_384, 65_536, 3 << 20] {
            let text = "x".repeat(length);
            client.send_text(text.clone()).await;
            let (_, message) = recorded.events.message().await;
            assert_eq!(message, RawMessage::Text(text.clone()));
            conn.try_send(&message).expect("the connection is open");
            assert_eq!(client.next_text().await, text);
        }
    }
}

#[tokio::test]
async fn bytes_sent_with_the_handshake_are_delivered() {
    let files = Files::new("early");
    let mut recorded = over_tls(hub(), &files.load().expect("good files")).await;
    let mut stream = files.connect(recorded.server.addr).await.expect("trusted");
    let mut bytes = upgrade_request("/ws").into_bytes();
    bytes.extend(frame(TEXT, b"early"));
    stream.write_all(&bytes).await.expect("sent");
    let (_, message) = recorded.events.message().await;
    assert_eq!(message, RawMessage::Text("early".to_owned()));
}

#[tokio::test]
async fn close_sends_the_code_and_ends_tls_cleanly() {
    let files = Files::new("close");
    let mut recorded = over_tls(hub(), &files.load().expect("good files")).await;
    let mut client = client(&files, recorded.server.addr).await;
    let conn = recorded.events.open().await;
    conn.close_with(4_321.into(), "enough");
    // An end without `close_notify` would be an error here.
    assert_eq!(client.closed().await, (4_321, "enough".to_owned()));
    let (_, reason) = recorded.events.ended().await;
    assert!(matches!(reason, DisconnectReason::ClosedByServer(_)), "{reason}");
}

#[tokio::test]
async fn client_that_stops_reading_is_evicted_and_reset_and_others_still_receive() {
    let files = Files::new("slow");
    let tls = files.load().expect("good files");
    let hub = Hub::with_codec(Raw).socket_send_buffer(4_096).build().expect("a hub");
    let mut recorded = over_tls(hub, &tls).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("before connecting");
    let stream = socket.connect(recorded.server.addr).await.expect("the server listens");
    let stream = files.shake_hands(stream, &[&TLS13]).await.expect("trusted");
    let mut slow = Client::over(stream, "/ws").await.expect("a handshake");
    recorded.events.open().await;
    let mut other = client(&files, recorded.server.addr).await;
    recorded.events.open().await;

    let text = RawMessage::Text("x".repeat(8_192));
    let mut sent = 0;
    while recorded.hub.stats().evicted_full == 0 {
        recorded.hub.try_broadcast(&text).expect("the inbox has space");
        other.next_data().await;
        sent += 1;
        assert!(sent < 1_000, "{sent} messages wait for a client that does not read");
    }
    let (_, reason) = recorded.events.ended().await;
    assert!(matches!(reason, DisconnectReason::SlowClient { .. }), "{reason}");
    let hub = recorded.hub.clone();
    eventually("the connection is gone", || hub.stats().connections == 1).await;
    // The client reads the bytes that were sent, and then gets a reset instead of the rest.
    let broken = loop {
        match within("the end", futures_util::StreamExt::next(&mut slow.0)).await {
            Some(Ok(Message::Text(_) | Message::Ping(_))) => {}
            end => break end,
        }
    };
    assert!(matches!(broken, Some(Err(_)) | Some(Ok(Message::Close(_)))), "{broken:?}");
}

#[tokio::test]
async fn new_clients_get_a_reloaded_certificate_and_open_connections_continue() {
    let mut files = Files::new("reload");
    let tls = files.load().expect("good files");
    let mut recorded = over_tls(hub(), &tls).await;
    let mut old = client(&files, recorded.server.addr).await;
    let conn = recorded.events.open().await;

    files.renew();
    let not_yet = files.connect(recorded.server.addr).await;
    assert!(not_yet.is_err(), "the server still shows the old one");
    tls.reload().expect("good files");
    client(&files, recorded.server.addr).await;
    conn.try_send(&RawMessage::Text("still here".to_owned())).expect("the connection is open");
    assert_eq!(old.next_text().await, "still here");

    files.write("key.pem", "");
    let error = tls.reload().expect_err("no key");
    assert!(matches!(&error, TlsError::File { path, .. } if *path == files.path("key.pem")));
    client(&files, recorded.server.addr).await;
}

#[test]
fn errors_distinguish_missing_invalid_and_mismatched_files() {
    let files = Files::new("bad");
    let file_of = |result: Result<Tls, TlsError>| match result {
        Err(error @ TlsError::File { .. }) => {
            assert!(error.source().is_some(), "{error} has no cause");
            error.to_string()
        }
        other => panic!("{other:?}"),
    };
    let missing = file_of(Tls::from_pem_files(files.path("none.pem"), files.path("key.pem")));
    assert!(missing.contains("none.pem"), "{missing}");
    let missing = file_of(Tls::from_pem_files(files.path("cert.pem"), files.path("none.pem")));
    assert!(missing.contains("none.pem"), "{missing}");
    let swapped = file_of(Tls::from_pem_files(files.path("key.pem"), files.path("key.pem")));
    assert!(swapped.contains("key.pem"), "{swapped}");

    let stranger = KeyPair::generate().expect("a key").serialize_pem();
    files.write("key.pem", &stranger);
    let error = files.load().expect_err("a key of another certificate");
    assert!(matches!(error, TlsError::Identity(_)), "{error:?}");
}

/// A server over TLS with a short timeout for handshakes.
async fn impatient(files: &Files) -> (Listening, ServerMonitor) {
    let tls = files.load().expect("good files");
    let server: Server = bind().await.tls(&tls).tls_timeout(Duration::from_millis(50));
    let monitor = server.monitor();
    (Listening::run(server), monitor)
}

/// Reads to the end of the stream; an error also counts as the end.
async fn end(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut bytes)).await;
    bytes
}

#[tokio::test]
async fn clients_without_a_tls_handshake_are_closed_and_counted() {
    let files = Files::new("silent");
    let (server, monitor) = impatient(&files).await;
    let silent = TcpStream::connect(server.addr).await.expect("the server listens");
    assert_eq!(end(silent).await, b"");
    let mut halting = TcpStream::connect(server.addr).await.expect("the server listens");
    // The head of a record of 512 bytes, and no more.
    halting.write_all(&[0x16, 3, 1, 2, 0]).await.expect("sent");
    assert_eq!(end(halting).await, b"");
    assert_eq!(monitor.stats().tls_timed_out, 2);

    let mut plain = TcpStream::connect(server.addr).await.expect("the server listens");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let answer = end(plain).await;
    assert!(!answer.starts_with(b"HTTP"), "an answer in plain text: {answer:?}");
    assert_eq!(monitor.stats().tls_failed, 1);
}

#[tokio::test]
async fn flood_of_pending_handshakes_is_bounded() {
    let files = Files::new("pending");
    let tls = files.load().expect("good files");
    let server = bind().await.tls(&tls).max_pending(1);
    let monitor = server.monitor();
    let server = Listening::run(server);
    let first = TcpStream::connect(server.addr).await.expect("the server listens");
    eventually("the connection is accepted", || monitor.stats().accepted == 1).await;
    let second = TcpStream::connect(server.addr).await.expect("the server listens");
    assert_eq!(end(second).await, b"", "no plain text where TLS is expected");
    assert_eq!(monitor.stats().refused_full, 1);
    drop(first);
}

#[tokio::test]
async fn https_serves_other_routes_too() {
    let files = Files::new("https");
    let hello = hyper::service::service_fn(|_| async {
        Ok::<_, std::convert::Infallible>(roomcast::Response::new(roomcast::Body::from("hello")))
    });
    let tls = files.load().expect("good files");
    let server = Listening::run(bind().await.tls(&tls).fallback(hello));
    let mut stream = files.connect(server.addr).await.expect("trusted");
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer)).await.expect("a clean end");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn idle_connection_ends_with_close_notify_and_does_not_count_as_a_slow_head() {
    let files = Files::new("idle");
    let tls = files.load().expect("good files");
    let server = bind().await.tls(&tls).keep_alive_timeout(Duration::from_millis(100));
    let monitor = server.monitor();
    let server = Listening::run(server);
    let mut stream = files.connect(server.addr).await.expect("trusted");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    // An end without `close_notify` would be an error here.
    within("an end", stream.read_to_string(&mut answer)).await.expect("a clean end");
    assert!(answer.ends_with("not found"), "{answer}");
    eventually("the fault is counted", || monitor.stats().keep_alives_timed_out == 1).await;
    assert_eq!(monitor.stats().heads_timed_out, 0);
}

/// A server with the smallest send buffers that the kernel allows.
fn tight() -> Server {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_send_buffer_size(4_096).expect("accepted sockets inherit it");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    Server::from_listener(socket.listen(16).expect("a bound socket listens"))
}

#[tokio::test]
async fn client_that_does_not_read_a_response_is_closed_over_tls() {
    let files = Files::new("unread");
    let tls = files.load().expect("good files");
    let timeout = Duration::from_millis(100);
    for kibibytes in [24, 48, 72, 256] {
        let body = bytes::Bytes::from(vec![b'x'; kibibytes * 1_024]);
        let page = hyper::service::service_fn(move |_| {
            let body = roomcast::Body::from(body.clone());
            async { Ok::<_, std::convert::Infallible>(roomcast::Response::new(body)) }
        });
        let server = tight().tls(&tls).write_timeout(timeout).fallback(page);
        let monitor = server.monitor();
        let server = Listening::run(server);
        for connection in ["close", "keep-alive"] {
            let before = monitor.stats().responses_stalled;
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_recv_buffer_size(4_096).expect("before connecting");
            let stream = socket.connect(server.addr).await.expect("the server listens");
            let mut stream = files.shake_hands(stream, &[&TLS13]).await.expect("trusted");
            let head =
                format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.expect("sent");
            let is_counted = || monitor.stats().responses_stalled == before + 1;
            eventually(&format!("{kibibytes} KiB, {connection}: it is closed"), is_counted).await;
        }
    }
}

#[tokio::test]
async fn client_that_floods_and_reads_gets_all_messages() {
    const ROUNDS: usize = 2_000;
    let files = Files::new("both-ways");
    let hub = Hub::with_codec(Raw).send_buffer(ROUNDS).send_buffer_bytes(64 << 20).build();
    let mut recorded = over_tls(hub.expect("a hub"), &files.load().expect("good files")).await;
    let client = client(&files, recorded.server.addr).await;
    let conn = recorded.events.open().await;
    let (mut sink, mut stream) = futures_util::StreamExt::split(client.0);
    let flood = tokio::spawn(async move {
        for _ in 0..ROUNDS {
            let message = Message::text("y".repeat(1_000));
            futures_util::SinkExt::send(&mut sink, message).await.expect("the connection is open");
        }
        sink
    });
    for round in 0..ROUNDS {
        conn.try_send(&RawMessage::Text(format!("{round} {}", "x".repeat(4_000))))
            .expect("there is space");
    }
    for round in 0..ROUNDS {
        let next = within("a message", futures_util::StreamExt::next(&mut stream)).await;
        let text =
            next.expect("the connection is open").expect("intact").into_text().expect("text");
        assert!(text.starts_with(&format!("{round} ")), "after {round}: {}", &text[..20]);
    }
    for _ in 0..ROUNDS {
        recorded.events.message().await;
    }
    drop(flood.await.expect("the process ends"));
}

#[tokio::test]
async fn bytes_that_tls_queues_for_clients_count_for_the_memory_budget() {
    const CLIENTS: usize = 60;
    let files = Files::new("budget");
    let tls = files.load().expect("good files");
    let hub = Hub::with_codec(Raw).socket_send_buffer(4_096).max_queued_bytes(1 << 20).build();
    let recorded = Recorded::serve_on(tight().tls(&tls), hub.expect("a hub"));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("before connecting");
        let stream = socket.connect(recorded.server.addr).await.expect("the server listens");
        let stream = files.shake_hands(stream, &[&TLS13]).await.expect("trusted");
        clients.push(Client::over(stream, "/ws").await.expect("a handshake"));
    }
    let message = RawMessage::Text("x".repeat(60_000));
    recorded.hub.try_broadcast(&message).expect("the inbox has space");
    let stats = || recorded.hub.stats();
    eventually("the largest queues go", || stats().evicted_for_memory > 0).await;
}

#[tokio::test]
async fn tls_record_overhead_counts_for_the_byte_rate() {
    let files = Files::new("records");
    let hub = Hub::with_codec(Raw).byte_rate(1, 60_000).build().expect("a hub");
    let mut recorded = over_tls(hub, &files.load().expect("good files")).await;
    let message = frame(TEXT, &[b'x'; 4_000]);
    for is_lawful in [true, false] {
        let stream = files.connect(recorded.server.addr).await.expect("trusted");
        let mut client = Client::over(stream, "/ws").await.expect("a handshake");
        recorded.events.open().await;
        let stream = client.0.get_mut();
        // A record with one byte of data has 23 bytes.
        for piece in message.chunks(if is_lawful { 4_096 } else { 1 }) {
            let sent = async { stream.write_all(piece).await.and(stream.flush().await) };
            if within("a write", sent).await.is_err() {
                break;
            }
        }
        if is_lawful {
            recorded.events.message().await;
            client.close_with(1000, "").await;
        }
        let (_, reason) = recorded.events.ended().await;
        let is_over = reason == DisconnectReason::OverLimit(roomcast::Limit::ByteRate);
        assert_eq!(is_over, !is_lawful, "{reason}");
    }
}

#[tokio::test]
async fn invalid_tls_record_is_answered_with_an_alert() {
    let files = Files::new("alert");
    let mut recorded = over_tls(hub(), &files.load().expect("good files")).await;
    let mut client = client(&files, recorded.server.addr).await;
    recorded.events.open().await;
    let stream = client.0.get_mut();
    let sealed_by_nobody = [&[23, 3, 3, 0, 32][..], &[0; 32]].concat();
    stream.get_mut().0.write_all(&sealed_by_nobody).await.expect("sent");
    let read = within("an alert", stream.read_to_end(&mut Vec::new())).await;
    let error =
        read.expect_err("no end of TLS").downcast::<rustls::Error>().expect("an error of TLS");
    assert_eq!(error, rustls::Error::AlertReceived(AlertDescription::BadRecordMac));
    let (_, reason) = recorded.events.ended().await;
    assert!(matches!(reason, DisconnectReason::Io(_)), "{reason}");
}
