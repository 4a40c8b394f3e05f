//! What a client must not do, what it gets for it, and that nobody else notices.

use std::sync::Arc;

use roomcast::{
    Close, CloseCode, Codec, Conn, DecodeError, DisconnectReason, EncodeError, FrameKind, Handler,
    Hub, Limit, Reject, UpgradeRequest,
};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::mpsc;

use crate::support::{
    BINARY, CLOSE, CONTINUATION, Client, FIN, Listening, PING, PONG, RawClient, Recorded, TEXT,
    close_payload, eventually, frame, header, serve, upgrade_request, within,
};

/// Sends bytes, and wants to be closed with this code, while another client chats on.
async fn refused_by<T: Send + 'static>(server: &mut Recorded<T>, bytes: &[u8], code: u16) {
    let (mut bad, conn) = server.connect_raw().await;
    conn.join("r").unwrap();
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
    assert_eq!(server.hub.room_count("r"), 0);
    assert!(server.events.pending().is_none(), "no message of it was handled");
}

/// A hub that takes numbers of at most 1,000 bytes refuses these bytes.
async fn refused(bytes: &[u8], code: u16) {
    let hub = Hub::<u32>::builder().max_message_bytes(1_000).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (mut bystander, conn) = server.connect().await;
    refused_by(&mut server, bytes, code).await;
    let stats = server.hub.stats();
    assert_eq!(stats.closed_protocol + stats.closed_too_big, 1);
    server.hub.broadcast(&1).unwrap();
    assert_eq!(bystander.get::<u32>().await, 1);
    bystander.send_text("2").await;
    let (from, message) = server.events.message().await;
    assert_eq!((from.id(), message), (conn.id(), 2));
    assert_eq!(server.hub.count(), 1);
}

const PROTOCOL: u16 = 1_002;
const INVALID: u16 = 1_007;
const TOO_BIG: u16 = 1_009;

#[tokio::test]
async fn unmasked_frame_is_refused() {
    refused(b"\x81\x011", PROTOCOL).await;
}

#[tokio::test]
async fn reserved_bits_are_refused() {
    for bit in [0x40, 0x20, 0x10] {
        refused(&frame(TEXT | bit, b"1"), PROTOCOL).await;
    }
}

#[tokio::test]
async fn reserved_opcodes_are_refused() {
    for opcode in [0x3, 0x7, 0xB, 0xF] {
        refused(&frame(FIN | opcode, b"1"), PROTOCOL).await;
    }
}

#[tokio::test]
async fn fragmented_control_frames_are_refused() {
    for opcode in [CLOSE, PING, PONG] {
        refused(&frame(opcode & !FIN, b""), PROTOCOL).await;
    }
}

#[tokio::test]
async fn control_frame_of_more_than_125_bytes_is_refused() {
    refused(&frame(PING, &[b'p'; 126]), PROTOCOL).await;
    refused(&frame(PONG, &[b'p'; 126]), PROTOCOL).await;
    refused(&frame(CLOSE, &close_payload(1_000, &[b'r'; 124])), PROTOCOL).await;
}

#[tokio::test]
async fn continuation_of_nothing_is_refused() {
    refused(&frame(CONTINUATION, b"1"), PROTOCOL).await;
    refused(&frame(CONTINUATION & !FIN, b"1"), PROTOCOL).await;
}

#[tokio::test]
async fn new_message_inside_a_fragmented_one_is_refused() {
    let second = [frame(TEXT & !FIN, b"1"), frame(TEXT, b"2")].concat();
    refused(&second, PROTOCOL).await;
    let second = [frame(TEXT & !FIN, b"1"), frame(BINARY & !FIN, b"2")].concat();
    refused(&second, PROTOCOL).await;
}

#[tokio::test]
async fn length_in_more_bytes_than_it_needs_is_refused() {
    refused(b"\x81\xFE\x00\x7D", PROTOCOL).await;
    refused(b"\x81\xFF\x00\x00\x00\x00\x00\x00\xFF\xFF", PROTOCOL).await;
}

#[tokio::test]
async fn close_frames_that_may_not_be_are_refused() {
    refused(&frame(CLOSE, b"\x03"), PROTOCOL).await;
    for code in [0, 999, 1_004, 1_005, 1_006, 1_015, 2_999, 5_000] {
        refused(&frame(CLOSE, &close_payload(code, b"")), PROTOCOL).await;
    }
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused() {
    refused(&frame(TEXT, b"\"\xFF\""), INVALID).await;
    // A surrogate, and a character in more bytes than it needs.
    refused(&frame(TEXT, b"\xED\xA0\x80"), INVALID).await;
    refused(&frame(TEXT, b"\xC0\xAF"), INVALID).await;
    refused(&frame(TEXT, &"é".as_bytes()[..1]), INVALID).await;
}

#[tokio::test]
async fn text_that_is_not_utf8_across_fragments_is_refused() {
    let cut =
        |second: &[u8], last: u8| [frame(TEXT & !FIN, b"\"\xE2\x82"), frame(last, second)].concat();
    refused(&cut(b"A", CONTINUATION), INVALID).await;
    refused(&cut(b"", CONTINUATION), INVALID).await;
    refused(&cut(b"\xFF", CONTINUATION & !FIN), INVALID).await;
}

#[tokio::test]
async fn close_reason_that_is_not_utf8_is_refused() {
    refused(&frame(CLOSE, &close_payload(1_000, b"\xFF")), INVALID).await;
}

#[tokio::test]
async fn message_that_declares_more_than_the_limit_is_refused_at_its_header() {
    refused(&header(TEXT, 1_001), TOO_BIG).await;
    refused(&header(TEXT & !FIN, 1_001), TOO_BIG).await;
    refused(&header(BINARY, i64::MAX as u64), TOO_BIG).await;
}

#[tokio::test]
async fn fragments_of_more_than_the_limit_are_refused_at_the_header_that_passes_it() {
    let fragments = [frame(TEXT & !FIN, &[b' '; 600]), header(CONTINUATION & !FIN, 401)].concat();
    refused(&fragments, TOO_BIG).await;
    let mut fragments = frame(TEXT & !FIN, &[b' '; 600]);
    fragments.extend(frame(CONTINUATION & !FIN, &[b' '; 400]));
    fragments.extend(header(CONTINUATION, 1));
    refused(&fragments, TOO_BIG).await;
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

/// Takes bytes alone.
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
    server.hub.broadcast(&9).unwrap();
    assert_eq!(bystander.read_frame().await, Some((BINARY, vec![9])));
}

#[tokio::test]
async fn bad_input_in_single_bytes_is_refused_alike() {
    let mut server = Recorded::serve(Hub::<u32>::new()).await;
    let (mut client, _) = server.connect_raw().await;
    let bytes = [frame(TEXT, b"1"), frame(PING, b"p"), frame(TEXT & !FIN, b"2"), frame(TEXT, b"")];
    for byte in bytes.concat() {
        client.send(&[byte]).await;
        tokio::task::yield_now().await;
        if server.hub.stats().closed_protocol > 0 {
            break;
        }
    }
    assert_eq!(server.events.message().await.1, 1);
    assert_eq!(client.read_frame().await, Some((PONG, b"p".to_vec())));
    assert_eq!(client.closed().await.0, PROTOCOL);
}

#[tokio::test]
async fn undecodable_text_is_told_and_counted_and_the_connection_lives() {
    let mut server = Recorded::serve(Hub::<u32>::new()).await;
    let (mut client, conn) = server.connect().await;
    for text in ["", "{", "\"seven\"", "-1", "7 8"] {
        client.send_text(text).await;
        let (from, error) = server.events.undecodable().await;
        assert_eq!(from.id(), conn.id());
        assert!(std::error::Error::source(&error).is_some(), "{text:?} has a cause: {error}");
    }
    client.send_text("7").await;
    assert_eq!(server.events.message().await.1, 7);
    conn.send(&8).unwrap();
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

/// Panics where it is told to by the path, or by a message.
struct Panicking(mpsc::UnboundedSender<DisconnectReason>);

impl Panicking {
    async fn panic_if(&self, is_it: bool) {
        // Also after it has waited, when it is polled by the runtime.
        tokio::task::yield_now().await;
        assert!(!is_it, "a panic that the test wants");
    }
}

impl Handler<u32> for Panicking {
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        self.panic_if(request.param("room") == Some("upgrade")).await;
        Ok(())
    }

    async fn on_connect(&self, conn: &Conn<u32>) -> Result<(), Close> {
        conn.join("r")?;
        self.panic_if(conn.param("room") == Some("connect")).await;
        Ok(())
    }

    async fn on_message(&self, conn: &Conn<u32>, message: u32) {
        self.panic_if(message == 13).await;
        let _ = conn.hub().to_room("r", &message);
    }

    async fn on_decode_error(&self, _: &Conn<u32>, _: DecodeError) {
        self.panic_if(true).await;
    }

    async fn on_disconnect(&self, conn: &Conn<u32>, reason: &DisconnectReason) {
        let _ = self.0.send(reason.clone());
        self.panic_if(conn.param("room") == Some("disconnect")).await;
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
        eventually("the witness is in", || hub.room_count("r") == 1).await;
        Self { hub, server, ends, witness }
    }

    /// The panicking one is cleaned up, and the witness chats on.
    async fn lives(mut self, reason: DisconnectReason) {
        assert_eq!(within("on_disconnect", self.ends.recv()).await, Some(reason));
        assert_eq!((self.hub.count(), self.hub.room_count("r")), (1, 1));
        self.witness.send_text("5").await;
        assert_eq!(self.witness.get::<u32>().await, 5);
        let hub = &self.hub;
        eventually("it is counted", || hub.stats().handler_panics == 1).await;
        self.hub.close();
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

/// Panics when it is decoded from 13.
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
        async move { conn.send(&message).unwrap() }
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
