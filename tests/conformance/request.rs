//! Table rows of HTTP requests, and their check.

use roomcast::{Hub, Raw};

use crate::row::{Outcome, Trace, echo, feed};
use support::{KEY, Listening, RawClient, eventually};

pub(crate) const BAD_REQUEST: &str = "HTTP/1.1 400 Bad Request";
pub(crate) const NOT_FOUND: &str = "HTTP/1.1 404 Not Found";
pub(crate) const UPGRADE_REQUIRED: &str = "HTTP/1.1 426 Upgrade Required";

/// The answer to the key of RFC 6455, section 1.3.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request for an upgrade, which may have faults.
pub(crate) struct Request {
    line: String,
    headers: Vec<String>,
}

/// The request of RFC 6455, section 1.3, without the optional headers.
pub(crate) fn good() -> Request {
    let headers = [
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        &format!("Sec-WebSocket-Key: {KEY}"),
    ];
    Request { line: "GET /ws HTTP/1.1".into(), headers: headers.map(str::to_owned).into() }
}

impl Request {
    pub(crate) fn line(mut self, line: &str) -> Self {
        line.clone_into(&mut self.line);
        self
    }

    pub(crate) fn path(self, path: &str) -> Self {
        self.line(&format!("GET {path} HTTP/1.1"))
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|header| !header.starts_with(&format!("{name}:")));
        self
    }

    pub(crate) fn and(mut self, header: &str) -> Self {
        self.headers.push(header.to_owned());
        self
    }

    /// Replaces all headers of this name by this header.
    pub(crate) fn but(self, header: &str) -> Self {
        let (name, _) = header.split_once(':').expect("a header has a colon");
        self.without(name).and(header)
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.but(&format!("Sec-WebSocket-Key: {key}"))
    }

    pub(crate) fn version(self, version: &str) -> Self {
        self.but(&format!("Sec-WebSocket-Version: {version}"))
    }

    pub(crate) fn text(&self) -> String {
        format!("{}\r\n{}\r\n\r\n", self.line, self.headers.join("\r\n"))
    }

    /// The bytes of the request, and the bytes that follow at once.
    pub(crate) fn then(&self, bytes: &[u8]) -> Vec<u8> {
        [self.text().as_bytes(), bytes].concat()
    }
}

impl From<Request> for Vec<u8> {
    fn from(request: Request) -> Self {
        request.text().into()
    }
}

/// The bytes of a client, and the answer that the client must get.
pub(crate) struct Row {
    name: &'static str,
    sent: Vec<u8>,
    status_line: &'static str,
    /// Lines of the head, in lower case.
    headers: Vec<String>,
    /// The frames after the head of an upgrade.
    outcome: Option<Outcome>,
}

impl Row {
    pub(crate) fn with(mut self, header: &str) -> Self {
        self.headers.push(header.to_owned());
        self
    }

    pub(crate) fn and_then(mut self, outcome: Outcome) -> Self {
        self.outcome = Some(outcome);
        self
    }
}

/// A row that becomes a connection, without a subprotocol or an extension.
pub(crate) fn opened(name: &'static str, sent: impl Into<Vec<u8>>) -> Row {
    opened_by(name, sent, ACCEPT)
}

/// The same for another key.
pub(crate) fn opened_by(name: &'static str, sent: impl Into<Vec<u8>>, accept: &str) -> Row {
    let accept = format!("sec-websocket-accept: {}", accept.to_ascii_lowercase());
    let status_line = "HTTP/1.1 101 Switching Protocols";
    let headers = vec!["upgrade: websocket".to_owned(), accept];
    let outcome = Some(Outcome::answered(&[]));
    Row { name, sent: sent.into(), status_line, headers, outcome }
}

/// A row that gets this status line, and does not become a connection.
pub(crate) fn refused(
    name: &'static str,
    sent: impl Into<Vec<u8>>,
    status_line: &'static str,
) -> Row {
    Row { name, sent: sent.into(), status_line, headers: Vec::new(), outcome: None }
}

/// A row that gets 426, with the headers that name the supported version and protocol.
pub(crate) fn upgrade_required(name: &'static str, sent: impl Into<Vec<u8>>) -> Row {
    refused(name, sent, UPGRADE_REQUIRED).with("upgrade: websocket").with("connection: upgrade")
}

/// Checks each row against an echo at `/ws` and `/ws/{room}`. A row that becomes a connection is also sent byte by
/// byte. A refused row is not, because the server may refuse a request before its end.
pub(crate) async fn check(rows: impl IntoIterator<Item = Row>) {
    let hub = Hub::with_codec(Raw).build().unwrap();
    let server = echo(&hub).await;
    let mut opened = 0;
    for row in rows {
        check_row(&server, &row, &[&row.sent]).await;
        if row.outcome.is_some() {
            check_row(&server, &row, &row.sent.chunks(1).collect::<Vec<_>>()).await;
            opened += 2;
        }
    }
    assert_eq!(hub.stats().connected, opened, "refused requests do not count");
    eventually("all are gone", || hub.count() == 0).await;
}

pub(crate) async fn check_row(server: &Listening, row: &Row, pieces: &[&[u8]]) {
    let _trace = Trace(row.name, pieces.iter().map(|piece| piece.len()).collect());
    let mut client = RawClient::open(server.addr).await;
    feed(&mut client, pieces).await;
    let head = client.read_head().await;
    assert_eq!(head.lines().next(), Some(row.status_line), "{head}");
    let head = head.to_ascii_lowercase();
    for header in &row.headers {
        assert_eq!(head.lines().filter(|line| line == header).count(), 1, "{header}: {head}");
    }
    for absent in ["sec-websocket-protocol:", "sec-websocket-extensions:"] {
        assert!(!head.contains(absent), "{head}");
    }
    assert_eq!(head.contains("sec-websocket-accept:"), row.outcome.is_some(), "{head}");
    if let Some(outcome) = &row.outcome {
        outcome.check(client).await;
    }
}
