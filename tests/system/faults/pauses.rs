//! A process that does not run for a while: stopped, or frozen with its container or its machine; and a
//! handler that blocks its thread. The time in which the server did not run does not count against its clients.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::patient::{self, BLOCK, LATE, PAGE_BYTES};
use support::scene::crowd::{Client, connect};
use support::scene::oracle::Line;
use support::scene::server::{DEADLINE, Server};
use support::scene::wire::{TEXT, dial, enter, frame, read_head, read_to_close, upgrade_request};

/// Longer than all of the server's deadlines, even when they are doubled.
const PAUSE: Duration = Duration::from_secs(2);

/// A ping interval longer than any test.
const NO_PINGS: Duration = Duration::from_secs(3_600);

fn signal(server: &Server, name: &str) {
    let script = format!("kill -{name} {}", server.pid());
    let status = Command::new("sh").args(["-c", &script]).status().expect("the system has a shell");
    assert!(status.success(), "{script}: {status}");
}

/// Stops the process, and waits until it has stopped.
fn stop(server: &Server) {
    signal(server, "STOP");
    let stat = format!("/proc/{}/stat", server.pid());
    let is_stopped = || {
        let stat = fs::read_to_string(&stat).expect("the process is there");
        stat.rsplit_once(") ").expect("a name").1.starts_with('T')
    };
    let deadline = Instant::now() + DEADLINE;
    while !is_stopped() {
        assert!(Instant::now() < deadline, "the process stops in time");
    }
}

/// Keeps the process from running for this time.
async fn pause(server: &Server, time: Duration) {
    stop(server);
    sleep(time).await;
    signal(server, "CONT");
}

fn line(text: &str, seq: u64) -> String {
    let line = Line { text: text.to_owned(), user: "room/one".to_owned(), seq, ts: 0.0 };
    simd_json::to_string(&line).expect("encodable")
}

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

async fn half_a_head(server: &Server) -> (TcpStream, String) {
    let mut stream = dial(server.addr(), None).await.expect("the server listens");
    let request = upgrade_request("room");
    let (half, rest) = request.split_at(60);
    stream.write_all(half.as_bytes()).await.expect("sent");
    (stream, rest.to_owned())
}

async fn half_a_message(server: &Server) -> (TcpStream, Vec<u8>) {
    let mut stream = enter(server.addr(), "room", None).await;
    let mut half = frame(TEXT, line("whole", 1).as_bytes());
    let rest = half.split_off(20);
    stream.write_all(&half).await.expect("sent");
    (stream, rest)
}

/// Requests a page, and reads only the head of the response.
async fn unread_page(server: &Server) -> TcpStream {
    let mut stream = dial(server.addr(), Some(4_096)).await.expect("the server listens");
    stream.write_all(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    assert_eq!(read_head(&mut stream).await.as_deref(), Some("200"));
    stream
}

/// An idle connection, after one answered request.
async fn idle(server: &Server) -> TcpStream {
    let mut stream = dial(server.addr(), None).await.expect("the server listens");
    assert_eq!(ask(&mut stream).await.as_deref(), Some("200"));
    stream
}

async fn ask(stream: &mut TcpStream) -> Option<String> {
    stream.write_all(b"HEAD /stats HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    within("an answer", read_head(stream)).await
}

async fn entering_late(server: &Server) -> TcpStream {
    let mut stream = dial(server.addr(), None).await.expect("the server listens");
    stream.write_all(upgrade_request(LATE).as_bytes()).await.expect("sent");
    stream
}

/// Lets the server read the bytes that were sent: its deadlines begin then.
async fn let_it_begin(server: &Server) {
    for _ in 0..3 {
        server.stats("room").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_head_may_be_completed_after_a_pause() {
    let server = patient::start(NO_PINGS).await;
    let (mut stream, rest) = half_a_head(&server).await;
    let_it_begin(&server).await;
    pause(&server, PAUSE).await;
    sleep(Duration::from_millis(100)).await;
    stream.write_all(rest.as_bytes()).await.expect("the connection is open");
    let status = within("an answer", read_head(&mut stream)).await;
    assert_eq!(status.as_deref(), Some("101"));
}

#[tokio::test(flavor = "multi_thread")]
async fn message_may_be_completed_after_a_pause() {
    let server = patient::start(NO_PINGS).await;
    let (mut stream, rest) = half_a_message(&server).await;
    let_it_begin(&server).await;
    pause(&server, PAUSE).await;
    sleep(Duration::from_millis(100)).await;
    stream.write_all(&rest).await.expect("the connection is open");
    assert_eq!(within("the message", stream.read_u8()).await.expect("a frame"), TEXT);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_sent_at_the_allowed_rate_during_a_pause_are_no_flood() {
    let server = Server::chat(&["--message-rate", "5"]).await;
    let mut client = connect(server.addr(), "room").await;
    let say = |seq| Message::text(line("hello", seq));
    client.send(say(0)).await.expect("sent");
    within("its own copy", client.next()).await.expect("open").expect("a message");
    stop(&server);
    // Four messages a second where five are allowed, and twice as many as a burst may have.
    for seq in 1..=20 {
        client.send(say(seq)).await.expect("sent");
        sleep(Duration::from_millis(250)).await;
    }
    signal(&server, "CONT");
    for seq in 1..=20 {
        let copy = within("its own copy", client.next()).await.expect("open").expect("a message");
        assert!(copy.is_text(), "message {seq}: {copy}");
    }
    assert_eq!(server.stats("room").await.hub.closed_flooding, 0);
    for seq in 0..40 {
        client.feed(say(seq)).await.expect("there is space");
    }
    client.flush().await.expect("sent");
    let flooding = |stats: &support::scene::server::Stats| stats.hub.closed_flooding == 1;
    server.eventually("room", "a flood is still refused", flooding).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connection_may_ask_again_after_a_pause() {
    let server = patient::start(NO_PINGS).await;
    let mut stream = idle(&server).await;
    pause(&server, PAUSE).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(ask(&mut stream).await.as_deref(), Some("200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn response_may_be_read_after_a_pause() {
    let server = patient::start(NO_PINGS).await;
    let mut stream = unread_page(&server).await;
    let_it_begin(&server).await;
    pause(&server, PAUSE).await;
    sleep(Duration::from_millis(100)).await;
    let mut page = (&mut stream).take(PAGE_BYTES as u64);
    let read = within("the page", tokio::io::copy(&mut page, &mut tokio::io::sink())).await;
    assert_eq!(read.expect("the data is complete"), PAGE_BYTES as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn handshake_may_take_its_time_after_a_pause() {
    let server = patient::start(NO_PINGS).await;
    let mut stream = entering_late(&server).await;
    let_it_begin(&server).await;
    pause(&server, PAUSE).await;
    let status = within("an answer", read_head(&mut stream)).await;
    assert_eq!(status.as_deref(), Some("101"));
}

/// Without a pause, all deadlines apply unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn stalled_clients_are_closed_without_a_pause() {
    let server = patient::start(NO_PINGS).await;
    let began = Instant::now();
    let (mut head, _rest) = half_a_head(&server).await;
    let (mut message, _rest) = half_a_message(&server).await;
    let mut page = unread_page(&server).await;
    let mut idle = idle(&server).await;
    let none = within("the end", read_head(&mut head)).await;
    assert_eq!(none, None, "a head that does not come");
    let code = within("the end", read_to_close(&mut message)).await;
    assert_eq!(code, Some(1_008), "a message that does not end");
    assert_eq!(within("the end", read_head(&mut idle)).await, None, "no further request");
    assert!(began.elapsed() >= patient::DEADLINE, "{:?}", began.elapsed());
    // A read would extend the deadline, so the test reads only after the deadline.
    sleep(2 * patient::DEADLINE).await;
    let mut rest = Vec::new();
    let _ = within("the end", page.read_to_end(&mut rest)).await;
    assert!(rest.len() < PAGE_BYTES, "a response that is not read");
}

mod tls {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::ring;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

    use super::*;

    /// Accepts any certificate: the tests do not check the server's identity.
    #[derive(Debug)]
    struct AnyServer;

    impl ServerCertVerifier for AnyServer {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            ring::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }

    fn client() -> ClientConnection {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        ClientConnection::new(Arc::new(config), name).expect("a client")
    }

    async fn tls_addr(server: &Server) -> SocketAddr {
        let mut stream = dial(server.addr(), None).await.expect("the server listens");
        let request = b"GET /tls HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("sent");
        let mut response = String::new();
        stream.read_to_string(&mut response).await.expect("an answer");
        response.rsplit_once("\r\n").expect("a body").1.parse().expect("an address")
    }

    /// Sends the first half of the first TLS record. Returns the connection and the other half.
    fn half_a_hello(addr: SocketAddr) -> (ClientConnection, TcpStream, Vec<u8>) {
        let (mut client, mut hello) = (client(), Vec::new());
        client.write_tls(&mut hello).expect("a vector takes it");
        let mut stream = TcpStream::connect(addr).expect("the server listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket takes options");
        let rest = hello.split_off(100);
        stream.write_all(&hello).expect("sent");
        (client, stream, rest)
    }

    fn finish(mut client: ClientConnection, mut stream: TcpStream, rest: &[u8]) -> String {
        stream.write_all(rest).expect("the connection is open");
        let mut tls = rustls::Stream::new(&mut client, &mut stream);
        tls.write_all(upgrade_request("room").as_bytes()).expect("the handshake succeeds");
        let mut status = [0; 12];
        tls.read_exact(&mut status).expect("an answer");
        String::from_utf8_lossy(&status).into_owned()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn tls_handshake_may_be_completed_after_a_pause() {
        let server = patient::start(NO_PINGS).await;
        let (client, stream, rest) = half_a_hello(tls_addr(&server).await);
        let_it_begin(&server).await;
        pause(&server, PAUSE).await;
        sleep(Duration::from_millis(100)).await;
        let status = tokio::task::spawn_blocking(move || finish(client, stream, &rest)).await;
        assert_eq!(status.expect("no panic"), "HTTP/1.1 101");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn tls_handshake_that_stalls_without_a_pause_is_closed() {
        let server = patient::start(NO_PINGS).await;
        let (_client, mut stream, _rest) = half_a_hello(tls_addr(&server).await);
        let read = tokio::task::spawn_blocking(move || stream.read(&mut [0; 16])).await;
        assert!(matches!(read.expect("no panic"), Ok(0) | Err(_)), "the end");
    }
}

/// The time between two pings of the shards.
const PINGS: Duration = Duration::from_millis(500);

/// Reads, and thereby answers pings, until the connection ends. Returns how it ended.
async fn listen(mut client: SplitStream<Client>) -> String {
    loop {
        match client.next().await {
            Some(Ok(Message::Close(close))) => return format!("{close:?}"),
            Some(Ok(_)) => {}
            end => return format!("{end:?}"),
        }
    }
}

/// Sends ten messages a second until the connection ends.
async fn talk(mut client: SplitSink<Client, Message>) {
    for seq in 0.. {
        if client.send(Message::text(line("hello", seq))).await.is_err() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Clients that answer pings; every tenth client also sends messages.
struct Company {
    ends: JoinSet<String>,
    _talks: JoinSet<()>,
    quiet: Vec<SplitSink<Client, Message>>,
}

impl Company {
    async fn gather(server: &Server, size: usize) -> Self {
        let mut company = Self { ends: JoinSet::new(), _talks: JoinSet::new(), quiet: Vec::new() };
        for number in 0..size {
            let (say, hear) = connect(server.addr(), "room").await.split();
            company.ends.spawn(listen(hear));
            match number % 10 {
                0 => drop(company._talks.spawn(talk(say))),
                _ => company.quiet.push(say),
            }
        }
        company
    }

    /// Checks that no client is closed, also during some more rounds of pings.
    async fn check_all_are_there(mut self, server: &Server, size: usize) {
        let closed = timeout(6 * PINGS, self.ends.join_next()).await;
        let (closed, more) = (closed.ok().flatten(), self.ends.len());
        assert!(closed.is_none(), "closed: {closed:?}, and {more} others are there");
        assert_eq!(server.stats("room").await.hub.connections, size as u64);
    }
}

async fn pause_beside(size: usize, time: Duration) {
    let server = patient::start(PINGS).await;
    let company = Company::gather(&server, size).await;
    // Some pings are in flight, and some are answered.
    sleep(2 * PINGS).await;
    pause(&server, time).await;
    company.check_all_are_there(&server, size).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_counts_as_idle_after_a_pause_of_four_ping_intervals() {
    pause_beside(100, Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_counts_as_idle_after_a_pause_of_less_than_two_ping_intervals() {
    pause_beside(100, Duration::from_millis(800)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes more than a minute"]
async fn no_client_counts_as_idle_after_a_pause_of_a_minute() {
    // Ten clients send for a minute, and all receive: more would test the clients.
    pause_beside(100, Duration::from_secs(60)).await;
}

/// One worker of tokio watches all sockets: if the handler blocks that worker, no client is read meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn no_client_counts_as_idle_because_a_handler_blocked_its_thread() {
    let server = patient::start(PINGS).await;
    let company = Company::gather(&server, 100).await;
    sleep(2 * PINGS).await;
    for _ in 0..3 {
        let mut culprit = connect(server.addr(), "other").await;
        culprit.send(Message::text(line(BLOCK, 2_500))).await.expect("connected");
        // When the answer comes, the thread is free.
        let answer =
            async { while !culprit.next().await.expect("open").expect("open").is_text() {} };
        within("its answer", answer).await;
        culprit.close(None).await.expect("the client is connected");
        within("the end", async { while culprit.next().await.is_some() {} }).await;
    }
    company.check_all_are_there(&server, 100).await;
}
