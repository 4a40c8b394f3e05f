//! [`Connecting`]: the handshake of a client in memory.

use std::fmt;
use std::net::SocketAddr;

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;

use super::pipe::Pipe;
use super::{ConnectError, TestClient, TestServer};
use crate::ws::OpenedSignal;
use crate::{Body, Request, Response, StatusCode};

/// The largest body, in bytes, of a response that refuses a handshake. Such a body is usually a
/// line of text.
const REFUSAL_BYTES_MAX: usize = 1 << 20;

/// In bytes: about the send buffer of a new TCP socket on Linux.
const PIPE_BYTES: usize = 64 * 1024;

/// The default number of messages that a client reads ahead: more than most tests send, and few
/// enough for tests of slow clients.
const INBOX_MESSAGES: usize = 1_024;

/// The default headers of a handshake. A header that a test sets replaces the default.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::HOST, "localhost"),
    (header::CONNECTION, "upgrade"),
    (header::UPGRADE, "websocket"),
    (header::SEC_WEBSOCKET_VERSION, "13"),
    // Any 16 bytes are valid.
    (header::SEC_WEBSOCKET_KEY, "cm9vbWNhc3QgaW4gdGVzdA=="),
];

/// The settings of a new client, from [`TestServer::connect`]. Await it to connect: the result is a
/// [`TestClient`], or a [`ConnectError`] if the handshake was refused.
///
/// The future is ready when [`on_connect`](crate::Handler::on_connect) has returned, so the client
/// is already a member of the rooms that `on_connect` joins. If that callback closes the
/// connection, the client gets the close ([`closed`](TestClient::closed)).
///
/// # Cancel safety
/// When the future is dropped before it is ready, the client disappears, as if its network had
/// failed.
///
/// # Examples
/// ```
/// use roomcast::test::TestServer;
/// use roomcast::{Hub, Reject, StatusCode};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::<String>::new();
/// let members = hub.handlers().on_upgrade(async |request| match request.header("authorization") {
///     Some("Bearer secret") => Ok(request),
///     _ => Err(Reject::new(StatusCode::UNAUTHORIZED).with_body("who are you?")),
/// });
/// let server = TestServer::new("/ws", hub.handle(members));
///
/// let refused = server.connect("/ws").await.expect_err("it has no token");
/// assert_eq!(refused.status(), Some(StatusCode::UNAUTHORIZED));
/// assert_eq!(refused.response().map(|response| response.body().as_bytes()), Some(&b"who are you?"[..]));
///
/// let client = server.connect("/ws").header("authorization", "Bearer secret").await?;
/// # drop(client);
/// # Ok(())
/// # }
/// ```
#[must_use = "a client connects when this is awaited"]
pub struct Connecting<Out, In = Out> {
    server: TestServer<Out, In>,
    path: String,
    headers: HeaderMap,
    remote_addr: SocketAddr,
    pipe_bytes: usize,
    inbox_messages: usize,
}

impl<Out, In> Connecting<Out, In> {
    pub(super) fn new(server: TestServer<Out, In>, path: &str) -> Self {
        Self {
            server,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            remote_addr: SocketAddr::from(([127, 0, 0, 1], 49_152)),
            pipe_bytes: PIPE_BYTES,
            inbox_messages: INBOX_MESSAGES,
        }
    }

    /// Adds a header to the request, such as `origin`, `cookie` or `sec-websocket-protocol`. A
    /// header of the handshake itself, such as `host` or `sec-websocket-key`, replaces the correct
    /// one.
    ///
    /// # Panics
    /// If the name or the value is not valid for a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a valid header name");
        let value = HeaderValue::from_str(value).expect("a valid header value");
        self.headers.append(name, value);
        self
    }

    /// The address of the client. Default: `127.0.0.1:49152`, the same for all clients.
    pub fn remote_addr(mut self, addr: SocketAddr) -> Self {
        self.remote_addr = addr;
        self
    }

    /// How many bytes the pipe holds in each direction. It replaces the buffers of the kernel.
    /// Default: 64 KiB; minimum: one byte. With a smaller pipe, a paused client becomes a slow
    /// client earlier.
    pub fn pipe_bytes(mut self, bytes: usize) -> Self {
        self.pipe_bytes = bytes.max(1);
        self
    }

    /// How many messages the client reads before [`recv`](TestClient::recv) takes them. Default:
    /// 1,024; at least 1. When this number waits, the client stops reading, and answers no pings.
    pub fn inbox_messages(mut self, messages: usize) -> Self {
        self.inbox_messages = messages.max(1);
        self
    }

    fn request(&mut self) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = self.path.parse().expect("a valid path");
        for (name, value) in HEADERS {
            if !self.headers.contains_key(&name) {
                self.headers.insert(name, HeaderValue::from_static(value));
            }
        }
        *request.headers_mut() = std::mem::take(&mut self.headers);
        request
    }
}

impl<Out: 'static, In: 'static> Connecting<Out, In> {
    async fn connect(mut self) -> Result<TestClient<Out, In>, ConnectError> {
        let request = self.request();
        let (signal, mut opened) = OpenedSignal::new();
        let stream = self.server.server.connect(self.remote_addr, self.pipe_bytes, signal);
        let response = exchange(stream, request).await.map_err(lost)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(response).await);
        }
        let (parts, body) = response.into_parts();
        let mut response = Response::from_parts(parts, ());
        let upgraded =
            hyper::upgrade::on(&mut response).await.map_err(|error| lost(error.into()))?;
        drop(body);
        let pipe = Pipe::new(upgraded, self.inbox_messages);
        // This fails if the connection has ended. The client gets the end from its pipe.
        drop(opened.wait_for(|is_open| *is_open).await);
        Ok(TestClient::new(pipe, self.server.codec, response))
    }
}

impl<Out: 'static, In: 'static> IntoFuture for Connecting<Out, In> {
    type Output = Result<TestClient<Out, In>, ConnectError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    /// # Panics
    /// If the path is invalid.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.connect())
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(
    stream: DuplexStream,
    request: Request<Body>,
) -> Result<Response<Incoming>, BoxError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the response, or with the upgrade.
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(request).await?)
}

async fn refused(response: Response<Incoming>) -> ConnectError {
    let (parts, body) = response.into_parts();
    match Limited::new(body, REFUSAL_BYTES_MAX).collect().await {
        Ok(body) => {
            let body = Body::from(body.to_bytes());
            ConnectError::Refused(Box::new(Response::from_parts(parts, body)))
        }
        Err(error) => lost(error),
    }
}

fn lost(error: BoxError) -> ConnectError {
    ConnectError::NoResponse(error)
}

impl<Out, In> fmt::Debug for Connecting<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").field("path", &self.path).finish_non_exhaustive()
    }
}
