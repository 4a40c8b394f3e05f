//! A WebSocket server that a test controls step by step.

use std::net::{Ipv4Addr, SocketAddr};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::driver::DEADLINE;

/// The server. It accepts or refuses a client only when the test calls a function.
pub(crate) struct Scripted {
    pub(crate) addr: SocketAddr,
    listener: TcpListener,
}

impl Scripted {
    pub(crate) async fn bind() -> Self {
        Self::bind_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    pub(crate) async fn bind_at(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).await.expect("the port is free");
        Self { addr: listener.local_addr().expect("the listener is bound"), listener }
    }

    /// Waits for a client, and does not answer its request.
    pub(crate) async fn knock(&self) -> TcpStream {
        let accepted =
            timeout(DEADLINE, self.listener.accept()).await.expect("a client connects in time");
        accepted.expect("a connection").0
    }

    /// Refuses the next client with 503.
    pub(crate) async fn refuse(&self) {
        let mut stream = self.knock().await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a request"));
        }
        let refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(refusal).await.expect("the client reads");
    }

    /// Accepts the next client.
    pub(crate) async fn accept(&self) -> Visit {
        Visit::accept(self.knock().await).await
    }
}

/// A connected client.
pub(crate) struct Visit {
    /// The path and query of the client's request.
    pub(crate) path: String,
    socket: WebSocketStream<TcpStream>,
}

impl Visit {
    pub(crate) async fn accept(stream: TcpStream) -> Self {
        let mut path = String::new();
        #[expect(clippy::result_large_err, reason = "the library sets this signature")]
        let look = |request: &Request, response: Response| {
            path = request.uri().to_string();
            Ok(response)
        };
        let socket = accept_hdr_async(stream, look).await.expect("a handshake");
        Self { path, socket }
    }

    pub(crate) async fn say(&mut self, message: impl Into<Message>) {
        self.socket.send(message.into()).await.expect("the client is there");
    }

    /// Returns the client's next text.
    pub(crate) async fn hear(&mut self) -> String {
        self.next().await.into_text().expect("text").to_string()
    }

    /// Returns the code with which the client closes.
    pub(crate) async fn closed_by_client(&mut self) -> u16 {
        match self.next().await {
            Message::Close(Some(frame)) => frame.code.into(),
            other => panic!("not a close: {other:?}"),
        }
    }

    /// Closes the connection, and waits until the client has answered.
    pub(crate) async fn close(mut self, code: u16, reason: &str) {
        self.end(Some(CloseFrame { code: code.into(), reason: reason.into() })).await;
    }

    /// Closes the connection with an empty close frame.
    pub(crate) async fn close_without_code(mut self) {
        self.end(None).await;
    }

    async fn end(&mut self, frame: Option<CloseFrame>) {
        self.socket.close(frame).await.expect("the client is there");
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    async fn next(&mut self) -> Message {
        let message = timeout(DEADLINE, self.socket.next()).await.expect("a message comes in time");
        message.expect("the connection is open").expect("intact")
    }
}
