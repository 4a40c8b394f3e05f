//! A server on a free port, WebSocket clients, a handler that records its calls, and waits with a deadline.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::header::HeaderValue;
use roomcast::{
    Close, Conn, DecodeError, DisconnectReason, Endpoint, Handler, Hub, Response, Server,
};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// The timeout of all waits, far above the time that a busy machine needs.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Returns the result of `future`. Panics with `what` if `future` does not end within [`DEADLINE`].
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let result = tokio::time::timeout(DEADLINE, future).await;
    result.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// Waits until `condition` holds. Panics with `what` if `condition` does not hold within [`DEADLINE`].
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// A callback that a [`Recorder`] has recorded.
#[derive(Debug)]
pub enum Event<T> {
    Open(Conn<T>),
    Message(Conn<T>, T),
    Undecodable(Conn<T>, DecodeError),
    Ended(Conn<T>, DisconnectReason),
}

/// A handler that only reports its callbacks to the test.
pub struct Recorder<T>(mpsc::UnboundedSender<Event<T>>);

impl<T: Send + 'static> Handler<T> for Recorder<T> {
    async fn on_connect(&self, conn: &Conn<T>) -> Result<(), Close> {
        self.tell(Event::Open(conn.clone()));
        Ok(())
    }

    async fn on_message(&self, conn: &Conn<T>, message: T) -> Result<(), Close> {
        self.tell(Event::Message(conn.clone(), message));
        Ok(())
    }

    async fn on_decode_error(&self, conn: &Conn<T>, error: DecodeError) -> Result<(), Close> {
        self.tell(Event::Undecodable(conn.clone(), error));
        Ok(())
    }

    async fn on_disconnect(&self, conn: &Conn<T>, reason: &DisconnectReason) -> Result<(), Close> {
        self.tell(Event::Ended(conn.clone(), reason.clone()));
        Ok(())
    }
}

impl<T> Recorder<T> {
    pub fn new() -> (Self, Events<T>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), Events { receiver, skipped: VecDeque::new() })
    }

    fn tell(&self, event: Event<T>) {
        // A test that has ended no longer receives events.
        let _ = self.0.send(event);
    }
}

/// The events of a [`Recorder`]. A call for one kind of event keeps the other events for later calls.
pub struct Events<T> {
    receiver: mpsc::UnboundedReceiver<Event<T>>,
    skipped: VecDeque<Event<T>>,
}

impl<T> Events<T> {
    pub async fn open(&mut self) -> Conn<T> {
        let event = self.first("on_connect", |event| matches!(event, Event::Open(_))).await;
        let Event::Open(conn) = event else { unreachable!() };
        conn
    }

    pub async fn message(&mut self) -> (Conn<T>, T) {
        let event = self.first("on_message", |event| matches!(event, Event::Message(..))).await;
        let Event::Message(conn, message) = event else { unreachable!() };
        (conn, message)
    }

    pub async fn undecodable(&mut self) -> (Conn<T>, DecodeError) {
        let is_it = |event: &Event<T>| matches!(event, Event::Undecodable(..));
        let Event::Undecodable(conn, error) = self.first("on_decode_error", is_it).await else {
            unreachable!()
        };
        (conn, error)
    }

    pub async fn ended(&mut self) -> (Conn<T>, DisconnectReason) {
        let event = self.first("on_disconnect", |event| matches!(event, Event::Ended(..))).await;
        let Event::Ended(conn, reason) = event else { unreachable!() };
        (conn, reason)
    }

    /// The next event of any kind, if one has already arrived.
    pub fn pending(&mut self) -> Option<Event<T>> {
        self.skipped.pop_front().or_else(|| self.receiver.try_recv().ok())
    }

    async fn first(&mut self, what: &str, is_it: impl Fn(&Event<T>) -> bool) -> Event<T> {
        if let Some(at) = self.skipped.iter().position(&is_it) {
            return self.skipped.remove(at).expect("found above");
        }
        loop {
            let event = within(what, self.receiver.recv()).await.expect("the recorder lives");
            if is_it(&event) {
                return event;
            }
            self.skipped.push_back(event);
        }
    }
}

/// Another runtime than that of the test, with one worker.
pub fn other_runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// Ends the runtime and waits for its end. On another thread, because a task must not block.
pub fn end_runtime(runtime: Runtime) {
    thread::spawn(move || drop(runtime)).join().expect("the runtime ends");
}

/// A server that stops when it is dropped.
pub struct Listening {
    pub addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Listening {
    pub fn run(server: Server) -> Self {
        let addr = server.local_addr().expect("a listener has an address");
        Self { addr, task: tokio::spawn(server.run()) }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server on a free port.
pub async fn bind() -> Server {
    // Some shells allow only 1,024 descriptors, and tests run in parallel.
    rlimit::increase_nofile_limit(16_384).expect("a limit may be raised up to its maximum");
    Server::bind("127.0.0.1:0").await.expect("loopback has a free port")
}

/// Serves an endpoint at `/ws` and `/ws/{room}`.
pub async fn serve<Out, In, H>(endpoint: Endpoint<H, Out, In>) -> Listening
where
    Out: 'static,
    In: Send + 'static,
    H: Handler<Out, In>,
{
    Listening::run(route(bind().await, endpoint))
}

fn route<Out, In, H>(server: Server, endpoint: Endpoint<H, Out, In>) -> Server
where
    Out: 'static,
    In: Send + 'static,
    H: Handler<Out, In>,
{
    let server = server.route("/ws", endpoint.clone()).expect("a free path");
    server.route("/ws/{room}", endpoint).expect("a free path")
}

/// A hub behind a server, with a handler that records.
pub struct Recorded<T> {
    pub hub: Hub<T>,
    pub events: Events<T>,
    pub server: Listening,
}

impl<T: Send + 'static> Recorded<T> {
    pub async fn serve(hub: Hub<T>) -> Self {
        Self::serve_on(bind().await, hub)
    }

    /// Serves with the smallest send buffers that the kernel allows: a client that does not read
    /// blocks its socket after a few KiB.
    pub async fn serve_tight(hub: Hub<T>) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_send_buffer_size(4_096).expect("accepted sockets inherit it");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let listener: TcpListener = socket.listen(16).expect("a bound socket listens");
        Self::serve_on(Server::from_listener(listener), hub)
    }

    pub fn serve_on(server: Server, hub: Hub<T>) -> Self {
        let (recorder, events) = Recorder::new();
        let server = Listening::run(route(server, hub.handle(recorder)));
        Self { hub, events, server }
    }

    /// A client, and the connection that the handler sees.
    pub async fn connect(&mut self) -> (Client, Conn<T>) {
        self.connect_at("/ws").await
    }

    pub async fn connect_at(&mut self, path: &str) -> (Client, Conn<T>) {
        let client = Client::connect(self.server.addr, path).await;
        (client, self.events.open().await)
    }

    pub async fn connect_raw(&mut self) -> (RawClient, Conn<T>) {
        let client = RawClient::connect(self.server.addr).await;
        (client, self.events.open().await)
    }

    /// A raw client with a small receive buffer, but not so small that reading on would take long.
    pub async fn connect_tight(&mut self) -> (RawClient, Conn<T>) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(65_536).expect("before connecting");
        let stream = socket.connect(self.server.addr).await.expect("the server listens");
        let client = RawClient::shake_hands(stream).await;
        (client, self.events.open().await)
    }
}

/// A WebSocket client of `tungstenite`. It answers pings and closes whenever it is read.
pub struct Client<S = TcpStream>(pub WebSocketStream<S>);

impl Client {
    pub async fn connect(addr: SocketAddr, path: &str) -> Self {
        Self::try_connect(addr, path).await.expect("the handshake succeeds")
    }

    pub async fn try_connect(
        addr: SocketAddr,
        path: &str,
    ) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Self::over(stream, path).await
    }

    /// Connects with extra headers. Also returns the response.
    pub async fn knock(
        addr: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(Self, Response<Option<Vec<u8>>>), tokio_tungstenite::tungstenite::Error> {
        let mut request = format!("ws://{addr}{path}").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_str(value)?);
        }
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let handshake = tokio_tungstenite::client_async(request, stream);
        let (client, response) = within("a handshake", handshake).await?;
        Ok((Self(client), response))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub async fn over(
        stream: S,
        path: &str,
    ) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let url = format!("ws://localhost{path}");
        let (client, _) =
            within("a handshake", tokio_tungstenite::client_async(url, stream)).await?;
        Ok(Self(client))
    }

    pub async fn send(&mut self, message: Message) {
        within("a send", self.0.send(message)).await.expect("the connection is open");
    }

    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.send(Message::text(text.into())).await;
    }

    /// The next message, including pings and pongs; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Message> {
        match within("a message", self.0.next()).await {
            Some(Ok(message)) => Some(message),
            Some(Err(error)) => panic!("the connection broke: {error}"),
            None => None,
        }
    }

    /// The next data message.
    pub async fn next_data(&mut self) -> Message {
        loop {
            match self.next().await {
                Some(message @ (Message::Text(_) | Message::Binary(_))) => return message,
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("data was expected, not {other:?}"),
            }
        }
    }

    pub async fn next_text(&mut self) -> String {
        match self.next_data().await {
            Message::Text(text) => text.as_str().to_owned(),
            other => panic!("text was expected, not {other:?}"),
        }
    }

    /// The next message, from JSON.
    pub async fn get<V: DeserializeOwned>(&mut self) -> V {
        let text = self.next_text().await;
        simd_json::serde::from_slice(&mut text.clone().into_bytes())
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The next `count` messages, from JSON.
    pub async fn get_many<V: DeserializeOwned>(&mut self, count: usize) -> Vec<V> {
        let mut messages = Vec::new();
        while messages.len() < count {
            messages.push(self.get().await);
        }
        messages
    }

    /// The next frame, which must be a close frame, after which the stream must end. 1005 stands for an empty close frame.
    pub async fn closed(&mut self) -> (u16, String) {
        let frame = loop {
            match self.next().await {
                Some(Message::Close(frame)) => break frame,
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("a close frame was expected, not {other:?}"),
            }
        };
        assert_eq!(self.next().await, None, "nothing follows a close frame");
        frame.map_or((1005, String::new()), |CloseFrame { code, reason }| {
            (code.into(), reason.as_str().to_owned())
        })
    }

    pub async fn close_with(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        within("a close", self.0.close(Some(frame))).await.expect("the connection is open");
    }
}

/// Opcodes with FIN set.
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8A;
/// The last fragment of a message.
pub const CONTINUATION: u8 = 0x80;
/// The FIN bit, which a fragment does not have.
pub const FIN: u8 = 0x80;

/// The key of RFC 6455, section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A close frame's payload.
pub fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}

/// A valid request for an upgrade.
pub fn upgrade_request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

/// A client that sends and receives raw bytes.
pub struct RawClient {
    pub stream: TcpStream,
    received: Vec<u8>,
}

impl RawClient {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// A plain TCP connection.
    pub async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket takes options");
        Self::new(stream)
    }

    /// A connection after its handshake, at `/ws`.
    pub async fn connect(addr: SocketAddr) -> Self {
        Self::shake_hands(Self::open(addr).await.stream).await
    }

    pub async fn shake_hands(stream: TcpStream) -> Self {
        let mut client = Self::new(stream);
        client.send(upgrade_request("/ws").as_bytes()).await;
        let head = client.read_head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        within("a write", self.stream.write_all(bytes)).await.expect("the server reads");
    }

    /// The head of a response.
    pub async fn read_head(&mut self) -> String {
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.read_more().await, "the head ends: {:?}", self.received);
        };
        let head = self.received.drain(..end).collect();
        String::from_utf8(head).expect("a head is text")
    }

    /// Reads and discards a body of this many bytes.
    pub async fn skip(&mut self, bytes: usize) {
        while self.received.len() < bytes {
            assert!(self.read_more().await, "the body is whole: {:?}", self.received);
        }
        self.received.drain(..bytes);
    }

    /// The next frame, its first byte and its payload; `None` if the stream has ended or broken.
    pub async fn read_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((header_bytes, payload_bytes)) = frame_size(&self.received)
                && self.received.len() >= header_bytes + payload_bytes
            {
                let frame: Vec<u8> = self.received.drain(..header_bytes + payload_bytes).collect();
                return Some((frame[0], frame[header_bytes..].to_vec()));
            }
            if !self.read_more().await {
                return None;
            }
        }
    }

    /// The next frame, which must be a close frame, after which the server must end the stream. 1005 stands for an
    /// empty close frame.
    pub async fn closed(&mut self) -> (u16, String) {
        let (first, payload) = self.read_frame().await.expect("a close frame comes");
        assert_eq!(first, CLOSE, "a close frame, not {payload:?}");
        assert_eq!(self.read_frame().await, None, "nothing follows a close frame");
        parse_close(&payload)
    }

    /// Reads and discards everything up to the end of the stream.
    pub async fn ended(&mut self) {
        while self.read_more().await {}
    }

    /// Everything up to the end of the stream.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        self.ended().await;
        std::mem::take(&mut self.received)
    }

    async fn read_more(&mut self) -> bool {
        let read = within("some bytes", self.stream.read_buf(&mut self.received)).await;
        read.is_ok_and(|bytes| bytes > 0)
    }
}

/// The frames of a server. The last frame must be complete.
pub fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (header_bytes, payload_bytes) = frame_size(bytes).expect("a header is whole");
        let (frame, rest) =
            bytes.split_at_checked(header_bytes + payload_bytes).expect("a frame is whole");
        frames.push((frame[0], &frame[header_bytes..]));
        bytes = rest;
    }
    frames
}

/// The code and the reason of a close frame.
pub fn parse_close(payload: &[u8]) -> (u16, String) {
    let Some((code, reason)) = payload.split_first_chunk() else { return (1005, String::new()) };
    let reason = String::from_utf8(reason.to_vec()).expect("a reason is text");
    (u16::from_be_bytes(*code), reason)
}

/// The sizes of the header and the payload of a server's frame; `None` while the header is incomplete.
fn frame_size(bytes: &[u8]) -> Option<(usize, usize)> {
    let second = *bytes.get(1)?;
    assert_eq!(second & 0x80, 0, "a server does not mask");
    match second {
        126 => Some((4, u16::from_be_bytes(*bytes.get(2..4)?.first_chunk()?).into())),
        127 => Some((10, u64::from_be_bytes(*bytes.get(2..10)?.first_chunk()?) as usize)),
        length => Some((2, length.into())),
    }
}
