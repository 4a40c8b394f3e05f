//! Compression that clients ask for: the negotiation, and compressed messages of clients.

use std::error::Error;
use std::time::Duration;

use roomcast::{
    Builder, Close, CloseCode, Compression, Conn, DisconnectReason, Hub, Limit, Raw, RawMessage,
    Server,
};

use tokio::io::AsyncWriteExt;

use support::{
    BINARY, CONTINUATION, FIN, Listening, PING, PONG, RSV1, RawClient, Recorded, TEXT, deflated,
    frame, header, serve,
};

/// "Hello", compressed: RFC 7692, section 7.2.3.1.
const HELLO: &[u8] = &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];

const OFFER: &str = "permessage-deflate; client_max_window_bits";
const ANSWER: &str = "permessage-deflate; client_no_context_takeover";

fn builder() -> Builder<RawMessage> {
    Hub::with_codec(Raw).compression(Compression::shared())
}

/// The head of the response to a request with these header lines.
async fn knock(server: &Listening, lines: &[&str]) -> (RawClient, String) {
    let mut client = RawClient::open(server.addr).await;
    let extensions: String =
        lines.iter().map(|line| format!("Sec-WebSocket-Extensions: {line}\r\n")).collect();
    let request = support::upgrade_request("/ws");
    let (head, end) = request.split_at(request.len() - 2);
    client.send(format!("{head}{extensions}{end}").as_bytes()).await;
    let head = client.read_head().await;
    (client, head)
}

/// The `Sec-WebSocket-Extensions` of a response.
fn answer(head: &str) -> Option<&str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let value = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-extensions"))?.1;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    Some(value)
}

/// A client that may compress, and its connection.
async fn connect(server: &mut Recorded<RawMessage>) -> (RawClient, Conn<RawMessage>) {
    let (client, head) = knock(&server.server, &[OFFER]).await;
    assert_eq!(answer(&head), Some(ANSWER));
    (client, server.events.open().await)
}

async fn recorded() -> Recorded<RawMessage> {
    Recorded::serve(builder().build().unwrap()).await
}

fn text(text: &str) -> RawMessage {
    RawMessage::Text(text.to_owned())
}

#[tokio::test]
async fn acceptable_offer_is_answered_with_its_parameters() {
    let server = recorded().await;
    for (lines, expected) in [
        (&[OFFER][..], Some(ANSWER.to_owned())),
        (&["permessage-deflate"], Some(ANSWER.to_owned())),
        (
            &["permessage-deflate; server_no_context_takeover; server_max_window_bits=10"],
            Some(format!("{ANSWER}; server_no_context_takeover; server_max_window_bits=10")),
        ),
        (
            &["permessage-deflate; server_max_window_bits=8"],
            Some(format!("{ANSWER}; server_max_window_bits=8")),
        ),
        (&["x-other", "permessage-deflate; unknown", OFFER], Some(ANSWER.to_owned())),
        (&["permessage-deflate; server_max_window_bits=7"], None),
        (&["x-other"], None),
        (&[""], None),
        (&[], None),
    ] {
        let (_client, head) = knock(&server.server, lines).await;
        assert_eq!(answer(&head).map(str::to_owned), expected, "{lines:?}");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }
}

#[tokio::test]
async fn malformed_offers_are_refused_with_400_unless_the_hub_does_not_compress() {
    let server = recorded().await;
    let malformed = ["permessage-deflate; client_max_window_bits=\"10"];
    let (mut client, head) = knock(&server.server, &malformed).await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    client.stream.shutdown().await.unwrap();
    let body = client.read_to_end().await;
    assert_eq!(str::from_utf8(&body), Ok("malformed Sec-WebSocket-Extensions"));
    let stats = server.hub.stats();
    assert_eq!((stats.refused_malformed, stats.connected), (1, 0));

    let hub = Hub::<RawMessage>::with_codec(Raw).build().unwrap();
    let plain = Recorded::serve(hub).await;
    let (_client, head) = knock(&plain.server, &malformed).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(answer(&head), None);
}

#[tokio::test]
async fn offers_of_kilobytes_are_read_to_the_end() {
    let server = recorded().await;
    for count in [23, 180] {
        let declined = "permessage-deflate; server_max_window_bits=7, ".repeat(count);
        let (_client, head) = knock(&server.server, &[&format!("{declined}{OFFER}")]).await;
        assert_eq!(answer(&head), Some(ANSWER), "{} bytes", declined.len());
        let (_client, head) = knock(&server.server, &[&format!("{OFFER}, {declined};")]).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    }
}

#[tokio::test]
async fn application_decides_by_the_request_who_may_compress() {
    let accept = |request: &roomcast::UpgradeRequest| {
        assert_ne!(request.header("x-client"), Some("panic"), "a panic that the test wants");
        request.header("x-client") == Some("good")
    };
    let compression = Compression::shared().accept_if(accept);
    let hub = Hub::with_codec(Raw).compression(compression).build().unwrap();
    let server = Recorded::<RawMessage>::serve(hub).await;
    // Other headers follow the offer.
    let offer_of = |client: &str| format!("{OFFER}\r\nX-Client: {client}");
    let (_client, head) = knock(&server.server, &[&offer_of("good")]).await;
    assert_eq!(answer(&head), Some(ANSWER));
    let (mut client, head) = knock(&server.server, &[&offer_of("bad")]).await;
    assert_eq!(answer(&head), None);
    client.send(&frame(TEXT | RSV1, HELLO)).await;
    assert_eq!(client.closed().await.0, 1_002);
    let (_client, head) = knock(&server.server, &[&offer_of("panic")]).await;
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
    assert_eq!(server.hub.stats().handler_panics, 1);
    // Without an offer, there is nothing to decide.
    let (_client, head) = knock(&server.server, &["x\r\nX-Client: panic"]).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[tokio::test]
async fn compressed_messages_reach_the_handler_and_are_counted() {
    let mut server = recorded().await;
    let (mut client, _conn) = connect(&mut server).await;
    let long = "a long text ".repeat(1_000);
    client.send(&frame(TEXT | RSV1, HELLO)).await;
    client.send(&frame(TEXT, b"plain")).await;
    let payload = deflated(long.as_bytes());
    client.send(&frame(TEXT | RSV1, &payload)).await;
    for expected in ["Hello", "plain", &long] {
        assert_eq!(server.events.message().await.1, text(expected));
    }
    let stats = server.hub.stats();
    assert_eq!((stats.messages_in, stats.bytes_in), (3, 10 + long.len() as u64));
    assert_eq!((stats.compressed_in, stats.compressed_bytes_in), (2, 7 + payload.len() as u64));
}

#[tokio::test]
async fn compressed_message_arrives_in_any_fragments_with_pings_in_between() {
    let hub = builder().max_fragments(512).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (mut client, _conn) = connect(&mut server).await;
    let noise: Vec<u8> =
        (0..500_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let payload = deflated(&noise);
    assert!((490..512).contains(&payload.len()), "one byte a fragment: {}", payload.len());
    let mut bytes = Vec::new();
    for (at, byte) in payload.iter().enumerate() {
        let first = if at == 0 { BINARY & !FIN | RSV1 } else { CONTINUATION & !FIN };
        bytes.extend(frame(first, &[*byte]));
    }
    for _ in payload.len()..511 {
        bytes.extend(frame(CONTINUATION & !FIN, b""));
    }
    bytes.extend(frame(PING, b"between"));
    bytes.extend(frame(CONTINUATION, b""));
    client.send(&bytes).await;
    assert_eq!(server.events.message().await.1, RawMessage::Binary(noise.into()));
    assert_eq!(client.read_frame().await, Some((PONG, b"between".to_vec())));
}

/// Sends bytes and expects a close with this code and reason.
async fn refused(bytes: &[u8], code: u16, reason: &str) {
    let hub = builder().max_message_bytes(1_000).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (mut client, _conn) = connect(&mut server).await;
    client.send(bytes).await;
    assert_eq!(client.closed().await, (code, reason.to_owned()));
    let end = server.events.ended().await.1;
    let expected = match code {
        1_009 => DisconnectReason::OverLimit(Limit::MessageBytes),
        _ => DisconnectReason::Protocol(Close::new(CloseCode::from(code), reason.to_owned())),
    };
    assert_eq!(end, expected);
    assert!(server.events.pending().is_none(), "no message of it was handled");
    let stats = server.hub.stats();
    assert_eq!(stats.closed_protocol + stats.closed_too_big, 1);
    assert_eq!(stats.closed_too_big, u64::from(code == 1_009));
}

#[tokio::test]
async fn reserved_bits_out_of_place_are_refused_with_1002() {
    let unknown = "reserved bit set without an extension";
    refused(&frame(TEXT | 0x20, HELLO), 1_002, unknown).await;
    refused(&frame(TEXT | RSV1 | 0x10, HELLO), 1_002, unknown).await;
    let misplaced = "compressed frame is not the first of a message";
    refused(&frame(PING | RSV1, b""), 1_002, misplaced).await;
    let open = frame(TEXT & !FIN | RSV1, HELLO);
    refused(&[open, frame(CONTINUATION | RSV1, b"")].concat(), 1_002, misplaced).await;
}

#[tokio::test]
async fn compressed_message_of_a_client_without_compression_is_refused_with_1002() {
    let mut server = recorded().await;
    let (mut client, _) = server.connect_raw().await;
    client.send(&frame(TEXT | RSV1, HELLO)).await;
    assert_eq!(client.closed().await.0, 1_002);
}

#[tokio::test]
async fn broken_deflate_and_text_that_is_not_utf8_are_refused_with_1007() {
    let rubbish = "compressed message is not valid deflate";
    refused(&frame(TEXT | RSV1, &[0xFF; 50]), 1_007, rubbish).await;
    // A reference to a message before: the client has to forget its window.
    refused(&frame(TEXT | RSV1, &[0xF2, 0x00, 0x11, 0x00, 0x00]), 1_007, rubbish).await;
    refused(&frame(TEXT | RSV1, &HELLO[..5]), 1_007, "compressed message is cut off").await;
    refused(&frame(TEXT | RSV1, &deflated(b"\xFF")), 1_007, "text is not UTF-8").await;
}

#[tokio::test]
async fn bombs_are_refused_with_1009_and_so_are_too_many_compressed_bytes() {
    let reason = "message over the size limit";
    let bomb = deflated(&vec![0; 1 << 20]);
    assert!(bomb.len() < 2_000, "{}", bomb.len());
    refused(&frame(BINARY | RSV1, &bomb), 1_009, reason).await;
    refused(&frame(TEXT | RSV1, &deflated(&[b'x'; 1_001])), 1_009, reason).await;
    refused(&header(TEXT | RSV1, 1_000 + 125 + 1_024 + 1), 1_009, reason).await;
}

#[tokio::test]
async fn inflated_bytes_count_against_the_byte_rate() {
    let hub = builder().byte_rate(1, 20_000).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (mut client, _conn) = connect(&mut server).await;
    let message = frame(TEXT | RSV1, &deflated(&[b'x'; 9_000]));
    assert!(message.len() < 100);
    client.send(&message.repeat(3)).await;
    assert_eq!(client.closed().await.0, 1_008);
    assert_eq!(server.events.ended().await.1, DisconnectReason::OverLimit(Limit::ByteRate));
    assert_eq!(server.hub.stats().messages_in, 2, "two messages fit into the burst");
}

#[tokio::test]
async fn compressed_heartbeat_is_answered() {
    let hub = Hub::<String>::builder().compression(Compression::once()).build().unwrap();
    let handlers = hub.handlers();
    let server = serve(hub.handle(handlers)).await;
    let (mut client, head) = knock(&server, &[OFFER]).await;
    assert_eq!(answer(&head), Some(ANSWER));
    client.send(&frame(TEXT | RSV1, &[0x00])).await;
    assert_eq!(client.read_frame().await, Some((TEXT, vec![])));
    let stats = hub.stats();
    assert_eq!((stats.heartbeats, stats.compressed_in), (1, 0), "a heartbeat is not a message");
}

#[tokio::test]
async fn client_that_closes_after_compressed_messages_is_heard() -> Result<(), Box<dyn Error>> {
    // The close of the server crosses messages of the client, which nobody reads any more.
    let hub = builder().close_timeout(Duration::from_secs(60)).build()?;
    let mut server = Recorded::serve_on(Server::bind("127.0.0.1:0").await?, hub);
    let (mut client, conn) = connect(&mut server).await;
    conn.close();
    assert_eq!(client.read_frame().await, Some((support::CLOSE, vec![0x03, 0xE8])));
    client.send(&frame(TEXT | RSV1, &[0xFF; 50])).await;
    client.send(&frame(support::CLOSE, &[0x03, 0xE8])).await;
    client.ended().await;
    Ok(())
}
