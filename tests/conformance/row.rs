//! Table rows of bytes that a client sends after its handshake, and their check.

use roomcast::{Hub, Raw, RawMessage};
use tokio::io::AsyncReadExt;

use support::{
    CLOSE, Listening, PING, PONG, RawClient, TEXT, close_payload, eventually, frame, header,
    parse_close, serve, within,
};

pub(crate) const PROTOCOL: u16 = 1_002;
pub(crate) const INVALID: u16 = 1_007;
pub(crate) const TOO_BIG: u16 = 1_009;

/// The longest message that most rows may send.
pub(crate) const LIMIT: usize = 1_000;

/// Rows of up to this many bytes are cut in two at each byte. Longer rows are cut only near the front, where the
/// header is.
const CUTS_MAX: usize = 160;

/// Rows of up to this many bytes are sent byte by byte. Longer rows are sent in pieces of an odd size.
const SINGLES_MAX: usize = 4_096;
const PIECE_BYTES: usize = 997;

/// The bytes that a client sends to an echo, and the full answer.
pub(crate) struct Row {
    name: String,
    sent: Vec<u8>,
    outcome: Outcome,
}

/// The frames of the server, to the end of the stream.
pub(crate) struct Outcome {
    /// First bytes and payloads.
    answers: Vec<(u8, Vec<u8>)>,
    end: End,
}

enum End {
    /// The connection goes on, until the client closes it.
    Open,
    /// The server closes with this code.
    Refused(u16),
    /// The server answers a close frame with one of this payload.
    Closed(Vec<u8>),
}

impl Row {
    fn new(name: impl Into<String>, sent: impl Into<Vec<u8>>, end: End) -> Self {
        let outcome = Outcome { answers: Vec::new(), end };
        Self { name: name.into(), sent: sent.into(), outcome }
    }

    /// The frames before the end.
    pub(crate) fn after(mut self, answers: &[(u8, &[u8])]) -> Self {
        self.outcome.answers = owned(answers);
        self
    }
}

impl Outcome {
    pub(crate) fn answered(answers: &[(u8, &[u8])]) -> Self {
        Self { answers: owned(answers), end: End::Open }
    }

    pub(crate) fn refused(code: u16) -> Self {
        Self { answers: Vec::new(), end: End::Refused(code) }
    }

    pub(crate) async fn check(&self, mut client: RawClient) {
        for answer in &self.answers {
            assert_eq!(client.read_frame().await.as_ref(), Some(answer));
        }
        match &self.end {
            End::Open => {
                client.send(&frame(PING, b"open?")).await;
                assert_eq!(client.read_frame().await, Some((PONG, b"open?".to_vec())));
                let goodbye = close_payload(1_000, b"");
                client.send(&frame(CLOSE, &goodbye)).await;
                assert_eq!(client.read_frame().await, Some((CLOSE, goodbye)));
            }
            End::Refused(code) => {
                let (first, payload) = client.read_frame().await.expect("a close frame comes");
                assert_eq!((first, parse_close(&payload).0), (CLOSE, *code), "{payload:?}");
            }
            End::Closed(payload) => {
                assert_eq!(client.read_frame().await, Some((CLOSE, payload.clone())));
            }
        }
        check_end(client).await;
    }
}

fn owned(frames: &[(u8, &[u8])]) -> Vec<(u8, Vec<u8>)> {
    frames.iter().map(|(first, payload)| (*first, payload.to_vec())).collect()
}

/// A row that the server refuses with a code.
pub(crate) fn refused(name: impl Into<String>, sent: impl Into<Vec<u8>>, code: u16) -> Row {
    Row::new(name, sent, End::Refused(code))
}

/// A row that closes the connection, and the payload of the server's close frame.
pub(crate) fn closed(name: impl Into<String>, sent: impl Into<Vec<u8>>, payload: &[u8]) -> Row {
    Row::new(name, sent, End::Closed(payload.to_vec()))
}

/// A row that gets these answers, if any, on a connection that stays open.
pub(crate) fn answered(
    name: impl Into<String>,
    sent: impl Into<Vec<u8>>,
    answers: &[(u8, &[u8])],
) -> Row {
    Row::new(name, sent, End::Open).after(answers)
}

/// The front of a masked frame that declares `length` bytes.
pub(crate) fn front(first: u8, length: u64, payload: &[u8]) -> Vec<u8> {
    let whole = frame(first, payload);
    let mask_and_payload = &whole[whole.len() - payload.len() - 4..];
    let mut bytes = header(first, length);
    bytes.truncate(bytes.len() - 4);
    bytes.extend(mask_and_payload);
    bytes
}

/// Checks each row against an echo with the usual limit.
pub(crate) async fn check(rows: impl IntoIterator<Item = Row>) {
    check_under(LIMIT, rows).await;
}

/// Checks each row, sent in several ways, against an echo that accepts messages of up to `limit` bytes. Meanwhile
/// another client uses the same echo.
pub(crate) async fn check_under(limit: usize, rows: impl IntoIterator<Item = Row>) {
    let hub = Hub::with_codec(Raw).max_message_bytes(limit).build().unwrap();
    let server = echo(&hub).await;
    let mut bystander = RawClient::connect(server.addr).await;
    for row in rows {
        for pieces in ways(&row.sent) {
            let trace = Trace(&row.name, pieces.iter().map(|piece| piece.len()).collect());
            let mut client = RawClient::connect(server.addr).await;
            feed(&mut client, &pieces).await;
            row.outcome.check(client).await;
            bystander.send(&frame(TEXT, b"others are served")).await;
            let echoed = Some((TEXT, b"others are served".to_vec()));
            assert_eq!(bystander.read_frame().await, echoed);
            drop(trace);
        }
    }
    eventually("all but the bystander are gone", || hub.count() == 1).await;
}

pub(crate) async fn echo(hub: &Hub<RawMessage>) -> Listening {
    let handlers = hub.handlers().on_message(|conn, message| async move {
        conn.try_send(&message).expect("the connection is open");
    });
    serve(hub.handle(handlers)).await
}

/// Names the row and its pieces if the test fails.
pub(crate) struct Trace<'a>(pub(crate) &'a str, pub(crate) Vec<usize>);

impl Drop for Trace<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("row {:?}, in pieces of {:?} bytes", self.0, self.1);
        }
    }
}

/// The pieces that the bytes are sent in: whole, byte by byte, and cut in two at each place.
fn ways(sent: &[u8]) -> Vec<Vec<&[u8]>> {
    let cuts = if sent.len() <= CUTS_MAX { sent.len() } else { 16 };
    let piece_bytes = if sent.len() <= SINGLES_MAX { 1 } else { PIECE_BYTES };
    let mut ways = vec![vec![sent], sent.chunks(piece_bytes).collect()];
    ways.extend((1..cuts).map(|at| vec![&sent[..at], &sent[at..]]));
    ways
}

/// Sends the pieces so that the server reads them one by one.
pub(crate) async fn feed(client: &mut RawClient, pieces: &[&[u8]]) {
    for piece in pieces {
        client.send(piece).await;
        // During the first yield the runtime sees the bytes. Before the second yield ends, the server has read them.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }
}

/// Asserts that the stream ends without a reset: a reset may discard the close frame.
async fn check_end(mut client: RawClient) {
    let mut rest = Vec::new();
    let end = within("the end of the stream", client.stream.read_to_end(&mut rest)).await;
    end.expect("no reset");
    rest.splice(..0, client.read_to_end().await);
    assert_eq!(rest, b"", "nothing follows a close frame");
}
