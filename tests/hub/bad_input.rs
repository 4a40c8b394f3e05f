//! Invalid input of a client: the answer to that client, and no effect on the other clients.

use std::sync::Arc;

use roomcast::{
    Close, CloseCode, Codec, Conn, DecodeError, DisconnectReason, EncodeError, FrameKind, Handler,
    Hub, Limit, Reject, UpgradeRequest,
};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::mpsc;

use support::{
    BINARY, CLOSE, CONTINUATION, Client, FIN, Listening, RawClient, Recorded, TEXT, close_payload,
    eventually, frame, header, serve, upgrade_request, within,
};

/// Sends bytes and expects a close with this code, while another client keeps sending and receiving.
async fn refused_by<T: Send + 'static>(server: &mut Recorded<T>, bytes: &[u8], code: u16) {
    let (mut bad, conn) = server.connect_raw().await;
    conn.try_join("r").unwrap();
    bad.send(bytes).await;
    let (told, reason) = bad.closed().await;
    assert_eq!(told, code, "{reason}");
    let (ended, end) = server.events.ended().await;
    assert_eq!(ended.id(), conn.id());
    let expected = match code {
        TOO_BIG => DisconnectReason::OverLimit(Limit::MessageBytes),
        _ => DisconnectReason::Protocol(Close::new(CloseCode::from(code), reason)),
    };
    assert_eq!(end, expected, "told what the client was told");
    assert_eq!(server.hub.member_count("r"), 0);
    assert!(server.events.pending().is_none(), "no message of it was handled");
}

/// Asserts that a hub refuses these bytes. The hub accepts numbers of at most 1,000 bytes.
async fn refused(bytes: &[u8], code: u16) {
    let hub = Hub::<u32>::builder().max_message_bytes(1_000).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (mut bystander, conn) = server.connect().await;
    refused_by(&mut server, bytes, code).await;
    let stats = server.hub.stats();
    assert_eq!(stats.closed_protocol + stats.closed_too_big, 1);
    server.hub.try_broadcast(&1).unwrap();
    assert_eq!(bystander.get::<u32>().await, 1);
    bystander.send_text("2").await;
    let (from, message) = server.events.message().await;
    assert_eq!((from.id(), message), (conn.id(), 2));
    assert_eq!(server.hub.count(), 1);
}

const PROTOCOL: u16 = 1_002;
const INVALID: u16 = 1_007;
const TOO_BIG: u16 = 1_009;

/// One violation of each kind. The tables of `tests/conformance` have all violations.
#[tokio::test]
async fn protocol_violation_closes_and_is_counted_and_other_clients_are_unaffected() {
    refused(b"\x81\x011", PROTOCOL).await;
    refused(&[frame(TEXT & !FIN, b"1"), frame(TEXT, b"2")].concat(), PROTOCOL).await;
    refused(&frame(CLOSE, &close_payload(1_005, b"")), PROTOCOL).await;
    refused(&frame(TEXT, b"\"\xFF\""), INVALID).await;
    refused(&frame(CLOSE, &close_payload(1_000, b"\xFF")), INVALID).await;
    refused(&header(TEXT, 1_001), TOO_BIG).await;
    refused(&[frame(TEXT & !FIN, &[b' '; 600]), header(CONTINUATION, 401)].concat(), TOO_BIG).await;
}

#[tokio::test]
async fn message_at_the_limit_passes() {
    let mut server = Recorded::serve(Hub::<u32>::new()).await;
    let (mut client, _) = server.connect_raw().await;
    let mut text = vec![b' '; 64 * 1024];
    *text.last_mut().unwrap() = b'7';
    client.send(&frame(TEXT, &text)).await;
    assert_eq!(server.events.message().await.1, 7);
    client.send(&frame(TEXT & !FIN, &text[..60_000])).await;
    client.send(&frame(CONTINUATION, &text[60_000..])).await;
    assert_eq!(server.events.message().await.1, 7);
    client.send(&header(TEXT, 64 * 1024 + 1)).await;
    assert_eq!(client.closed().await.0, TOO_BIG, "64 KiB by default");
}

#[tokio::test]
async fn binary_message_to_a_text_codec_is_refused() {
    refused(&frame(BINARY, b"1"), 1_003).await;
}

/// A codec that accepts only binary messages.
struct BinaryOnly;

impl Codec<u8> for BinaryOnly {
    fn encode(&self, message: &u8, out: &mut Vec<u8>) -> Result<FrameKind, EncodeError> {
        out.push(*message);
        Ok(FrameKind::Binary)
    }

    fn accepts(&self, kind: FrameKind) -> bool {
        kind == FrameKind::Binary
    }

    fn decode(&self, _: FrameKind, payload: &mut [u8]) -> Result<u8, DecodeError> {
        payload.first().copied().ok_or_else(|| DecodeError::new("empty"))
    }
}

#[tokio::test]
async fn text_message_to_a_binary_codec_is_refused() {
    let hub = Hub::<u8>::with_codec(BinaryOnly).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (mut bystander, _) = server.connect_raw().await;
    refused_by(&mut server, &frame(TEXT, b"1"), 1_003).await;
    server.hub.try_broadcast(&9).unwrap();
    assert_eq!(bystander.read_frame().await, Some((BINARY, vec![9])));
}

#[tokio::test]
async fn undecodable_text_is_reported_and_counted_and_the_connection_stays_open() {
    let mut server = Recorded::serve(Hub::<u32>::new()).await;
    let (mut client, conn) = server.connect().await;
    for text in [" ", "{", "\"seven\"", "-1", "7 8"] {
        client.send_text(text).await;
        let (from, error) = server.events.undecodable().await;
        assert_eq!(from.id(), conn.id());
        assert!(std::error::Error::source(&error).is_some(), "{text:?} has a cause: {error}");
    }
    client.send_text("7").await;
    assert_eq!(server.events.message().await.1, 7);
    conn.try_send(&8).unwrap();
    assert_eq!(client.get::<u32>().await, 8);
    assert_eq!(server.hub.stats().decode_errors, 5);
}

#[tokio::test]
async fn handler_may_close_on_undecodable_text() {
    let hub = Hub::<u32>::new();
    let handlers = hub.handlers().on_decode_error(|conn, _| async move {
        conn.close_with(CloseCode::UNSUPPORTED, "numbers only");
    });
    let server = serve(hub.handle(handlers)).await;
    let mut client = Client::connect(server.addr, "/ws").await;
    client.send_text("seven").await;
    assert_eq!(client.closed().await, (1_003, "numbers only".to_owned()));
}

/// A handler that panics in the callback that the path or a message names.
struct Panicking(mpsc::UnboundedSender<DisconnectReason>);

impl Panicking {
    async fn panic_if(&self, is_it: bool) {
        // The handler also panics after an `.await`, when the runtime polls it again.
        tokio::task::yield_now().await;
        assert!(!is_it, "a panic that the test wants");
    }
}

impl Handler<u32> for Panicking {
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        self.panic_if(request.try_param("room") == Some("upgrade")).await;
        Ok(())
    }

    async fn on_connect(&self, conn: &Conn<u32>) -> Result<(), Close> {
        conn.try_join("r")?;
        self.panic_if(conn.try_param("room") == Some("connect")).await;
        Ok(())
    }

    async fn on_message(&self, conn: &Conn<u32>, message: u32) -> Result<(), Close> {
        self.panic_if(message == 13).await;
        let _ = conn.hub().try_to_room("r", &message);
        Ok(())
    }

    async fn on_decode_error(&self, _: &Conn<u32>, _: DecodeError) -> Result<(), Close> {
        self.panic_if(true).await;
        Ok(())
    }

    async fn on_disconnect(
        &self,
        conn: &Conn<u32>,
        reason: &DisconnectReason,
    ) -> Result<(), Close> {
        let _ = self.0.send(reason.clone());
        self.panic_if(conn.try_param("room") == Some("disconnect")).await;
        Ok(())
    }
}

struct Witnessed {
    hub: Hub<u32>,
    server: Listening,
    ends: mpsc::UnboundedReceiver<DisconnectReason>,
    witness: Client,
}

impl Witnessed {
    async fn serve() -> Self {
        let hub = Hub::<u32>::builder().shards(1).build().unwrap();
        let (sender, ends) = mpsc::unbounded_channel();
        let server = serve(hub.handle(Panicking(sender))).await;
        let witness = Client::connect(server.addr, "/ws").await;
        eventually("the witness is in", || hub.member_count("r") == 1).await;
        Self { hub, server, ends, witness }
    }

    /// The panicking connection is cleaned up, and the witness still sends and receives.
    async fn lives(mut self, reason: DisconnectReason) {
        assert_eq!(within("on_disconnect", self.ends.recv()).await, Some(reason));
        assert_eq!((self.hub.count(), self.hub.member_count("r")), (1, 1));
        self.witness.send_text("5").await;
        assert_eq!(self.witness.get::<u32>().await, 5);
        let hub = &self.hub;
        eventually("it is counted", || hub.stats().handler_panics == 1).await;
        self.hub.shutdown_now();
        assert_eq!(self.witness.closed().await.0, 1_001);
        within("all have ended", self.hub.closed()).await;
    }
}

#[tokio::test]
async fn panic_in_on_message_ends_its_connection_alone() {
    let server = Witnessed::serve().await;
    let mut client = RawClient::connect(server.server.addr).await;
    client.send(&frame(TEXT, b"13")).await;
    assert_eq!(client.closed().await, (1_011, "internal error".to_owned()));
    server.lives(DisconnectReason::HandlerPanicked).await;
}

#[tokio::test]
async fn panic_in_on_connect_ends_its_connection_alone() {
    let server = Witnessed::serve().await;
    let mut client = Client::connect(server.server.addr, "/ws/connect").await;
    assert_eq!(client.closed().await.0, 1_011);
    server.lives(DisconnectReason::HandlerPanicked).await;
}

#[tokio::test]
async fn panic_in_on_decode_error_ends_its_connection_alone() {
    let server = Witnessed::serve().await;
    let mut client = Client::connect(server.server.addr, "/ws").await;
    client.send_text("thirteen").await;
    assert_eq!(client.closed().await.0, 1_011);
    server.lives(DisconnectReason::HandlerPanicked).await;
}

#[tokio::test]
async fn panic_in_on_disconnect_is_counted_and_the_connection_ends() {
    let server = Witnessed::serve().await;
    let mut client = Client::connect(server.server.addr, "/ws/disconnect").await;
    client.close_with(1_000, "").await;
    assert_eq!(client.closed().await.0, 1_000);
    server.lives(DisconnectReason::ClosedByClient(Close::normal())).await;
}

#[tokio::test]
async fn panic_in_on_upgrade_is_a_500() {
    let mut server = Witnessed::serve().await;
    let mut client = RawClient::open(server.server.addr).await;
    client.send(upgrade_request("/ws/upgrade").as_bytes()).await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 500 "));
    assert_eq!(server.hub.stats().handler_panics, 1);
    server.witness.send_text("5").await;
    assert_eq!(server.witness.get::<u32>().await, 5);
}

/// A message that panics when it is decoded from 13.
#[derive(Serialize)]
struct Fragile(u32);

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        assert_ne!(number, 13, "a panic that the test wants");
        Ok(Self(number))
    }
}

#[tokio::test]
async fn panic_while_decoding_ends_its_connection_alone() {
    let mut server = Recorded::serve(Hub::<Fragile>::builder().shards(1).build().unwrap()).await;
    let (mut bystander, _) = server.connect().await;
    for _ in 0..3 {
        let (mut client, _) = server.connect().await;
        client.send_text("13").await;
        assert_eq!(client.closed().await.0, 1_011);
        assert_eq!(server.events.ended().await.1, DisconnectReason::HandlerPanicked);
        bystander.send_text("5").await;
        assert_eq!(server.events.message().await.1.0, 5, "the reader's buffer survives");
    }
    assert_eq!(server.hub.stats().handler_panics, 3);
}

#[tokio::test]
async fn closures_that_panic_before_they_return_a_future_end_their_connection_alone() {
    let hub = Hub::<u32>::new();
    let handlers = hub.handlers().on_message(|conn, message| {
        assert_ne!(message, 13, "a panic that the test wants");
        async move { conn.try_send(&message).unwrap() }
    });
    let endpoint = hub.handle(Arc::new(handlers));
    let server = serve(endpoint).await;
    let mut good = Client::connect(server.addr, "/ws").await;
    let mut bad = Client::connect(server.addr, "/ws").await;
    bad.send_text("13").await;
    assert_eq!(bad.closed().await.0, 1_011);
    good.send_text("5").await;
    assert_eq!(good.get::<u32>().await, 5);
}
