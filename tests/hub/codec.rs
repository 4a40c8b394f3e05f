//! Codecs: messages on the wire, in both directions.

use bytes::Bytes;
use roomcast::{Codec, DecodeError, EncodeError, FrameKind, Hub, Raw, RawMessage};
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::Message;

use support::{BINARY, CONTINUATION, Client, FIN, PING, PONG, Recorded, TEXT, frame, serve};

/// Sizes around which the length of a header changes, and the largest size that the default accepts.
const SIZES: [usize; 8] = [0, 1, 125, 126, 127, 65_534, 65_535, 65_536];

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Chat {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

#[tokio::test]
async fn json_is_typed_and_absent_fields_stay_absent() {
    let hub = Hub::<Chat>::new();
    let handlers = hub.handlers().on_message(|conn, chat| async move {
        conn.hub().try_broadcast(&chat).unwrap();
    });
    let server = serve(hub.handle(handlers)).await;
    let mut client = Client::connect(server.addr, "/ws").await;
    for (sent, got) in [
        (r#"{"text":"a"}"#, r#"{"text":"a"}"#),
        (
            r#" { "seq" : 18446744073709551615, "text" : "é\n\u20ac" } "#,
            r#"{"text":"é\n€","seq":18446744073709551615}"#,
        ),
        (r#"{"text":"","user":"u","other":[1,{}]}"#, r#"{"text":"","user":"u"}"#),
    ] {
        client.send_text(sent).await;
        assert_eq!(client.next_text().await, got);
    }
}

async fn echo() -> (Recorded<RawMessage>, Client) {
    let mut server = Recorded::serve(Hub::with_codec(Raw).build().unwrap()).await;
    let (client, _) = server.connect().await;
    (server, client)
}

#[tokio::test]
async fn raw_passes_text_and_binary_of_any_size() {
    let (mut server, mut client) = echo().await;
    for size in SIZES {
        let text = "t".repeat(size);
        client.send_text(text.clone()).await;
        let (conn, message) = server.events.message().await;
        assert!(message == RawMessage::Text(text.clone()), "text of {size} bytes");
        conn.try_send(&message).unwrap();
        assert!(client.next_data().await == Message::text(text), "text of {size} bytes");

        let bytes: Bytes = (0..size).map(|at| at as u8).collect();
        client.send(Message::Binary(bytes.clone())).await;
        let (conn, message) = server.events.message().await;
        assert!(message == RawMessage::Binary(bytes.clone()), "{size} bytes");
        conn.try_send(&message).unwrap();
        assert!(client.next_data().await == Message::Binary(bytes), "{size} bytes");
    }
}

#[tokio::test]
async fn server_may_send_larger_messages_than_a_client() {
    let (server, mut client) = echo().await;
    for size in [65_537, 300_000, 1_000_000] {
        let bytes: Bytes = (0..size).map(|at| at as u8).collect();
        server.hub.try_broadcast(&RawMessage::Binary(bytes.clone())).unwrap();
        assert!(client.next_data().await == Message::Binary(bytes), "{size} bytes");
    }
}

#[tokio::test]
async fn fragments_are_put_together_and_pings_between_them_answered() {
    let mut server = Recorded::serve(Hub::with_codec(Raw).build().unwrap()).await;
    let (mut client, _) = server.connect_raw().await;
    let euro = "€".as_bytes();
    for bytes in [
        frame(TEXT & !FIN, &euro[..1]),
        frame(PING, b"between"),
        frame(CONTINUATION & !FIN, b""),
        frame(CONTINUATION & !FIN, &euro[1..2]),
        frame(PONG, b"unasked"),
        frame(CONTINUATION, &euro[2..]),
    ] {
        client.send(&bytes).await;
    }
    assert_eq!(client.read_frame().await, Some((PONG, b"between".to_vec())));
    assert_eq!(server.events.message().await.1, RawMessage::Text("€".to_owned()));
    client.send(&[frame(BINARY & !FIN, b"\xFF"), frame(CONTINUATION, b"\xFE")].concat()).await;
    assert_eq!(server.events.message().await.1, RawMessage::Binary(b"\xFF\xFE"[..].into()));
}

#[tokio::test]
async fn ping_is_answered_with_its_payload() {
    let mut server = Recorded::serve(Hub::<u32>::new()).await;
    let (mut client, _) = server.connect_raw().await;
    for payload in [&b""[..], b"\0\xFF", &[b'p'; 125]] {
        client.send(&frame(PING, payload)).await;
        assert_eq!(client.read_frame().await, Some((PONG, payload.to_vec())));
    }
}

/// A position, as two little-endian numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct At(f32, f32);

struct Positions;

impl Codec<At> for Positions {
    fn encode(&self, at: &At, out: &mut Vec<u8>) -> Result<FrameKind, EncodeError> {
        if at.0.is_nan() {
            // The hub must remove the bytes that the failed codec appended.
            out.extend_from_slice(b"nothing");
            return Err(EncodeError::new("nowhere"));
        }
        out.extend_from_slice(&at.0.to_le_bytes());
        out.extend_from_slice(&at.1.to_le_bytes());
        Ok(FrameKind::Binary)
    }

    fn accepts(&self, kind: FrameKind) -> bool {
        kind == FrameKind::Binary
    }

    fn decode(&self, _: FrameKind, payload: &mut [u8]) -> Result<At, DecodeError> {
        let (x, y) = payload.split_at_checked(4).ok_or_else(|| DecodeError::new("too short"))?;
        let number = |bytes: &[u8]| bytes.try_into().map(f32::from_le_bytes);
        let at = number(x).and_then(|x| Ok(At(x, number(y)?)));
        at.map_err(DecodeError::new)
    }
}

#[tokio::test]
async fn custom_codec_works_in_both_directions() {
    let mut server = Recorded::serve(Hub::with_codec(Positions).build().unwrap()).await;
    let (mut client, conn) = server.connect().await;
    let wire: Bytes = [1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat().into();
    client.send(Message::Binary(wire.clone())).await;
    assert_eq!(server.events.message().await.1, At(1.5, -2.0));
    client.send(Message::Binary(wire.slice(1..))).await;
    server.events.undecodable().await;
    let error = server.hub.try_broadcast(&At(f32::NAN, 0.0)).unwrap_err();
    assert_eq!(error.to_string(), "message not encodable: nowhere");
    conn.try_send(&At(1.5, -2.0)).unwrap();
    assert_eq!(client.next_data().await, Message::Binary(wire));
}

#[tokio::test]
async fn unit_like_messages_are_messages() {
    let mut server = Recorded::serve(Hub::<()>::new()).await;
    let (mut client, _) = server.connect().await;
    client.send_text("null").await;
    server.events.message().await;
    server.hub.try_broadcast(&()).unwrap();
    assert_eq!(client.next_text().await, "null");
}

/// A codec that truncates the buffer to which it should append.
struct Greedy;

impl Codec<()> for Greedy {
    fn encode(&self, _: &(), out: &mut Vec<u8>) -> Result<FrameKind, EncodeError> {
        out.clear();
        Ok(FrameKind::Text)
    }

    fn accepts(&self, _: FrameKind) -> bool {
        true
    }

    fn decode(&self, _: FrameKind, _: &mut [u8]) -> Result<(), DecodeError> {
        Ok(())
    }
}

#[tokio::test]
async fn codec_that_shortens_the_buffer_is_an_error_and_not_a_panic() {
    let hub = Hub::with_codec(Greedy).build().unwrap();
    let error = hub.try_broadcast(&()).unwrap_err();
    assert!(error.to_string().contains("has shortened the buffer"), "{error}");
}
