//! The opening handshake (RFC 6455, 4.2; RFC 9110, 7.8; RFC 9112).

use roomcast::{Hub, Raw};

use crate::request::{
    BAD_REQUEST, NOT_FOUND, UPGRADE_REQUIRED, check, check_row, good, opened, opened_by, refused,
    upgrade_required,
};
use crate::row::{Outcome, PROTOCOL, echo};
use support::{BINARY, RawClient, TEXT, frame};

#[tokio::test]
async fn request_line_is_a_get_of_http_1_1() {
    check([
        opened("GET", good()),
        upgrade_required("POST", good().line("POST /ws HTTP/1.1").and("Content-Length: 0")),
        upgrade_required("HEAD", good().line("HEAD /ws HTTP/1.1")),
        upgrade_required("PUT", good().line("PUT /ws HTTP/1.1")),
        upgrade_required("OPTIONS", good().line("OPTIONS /ws HTTP/1.1")),
        upgrade_required("get, another method", good().line("get /ws HTTP/1.1")),
        refused("HTTP/1.0", good().line("GET /ws HTTP/1.0"), "HTTP/1.0 426 Upgrade Required"),
        refused("HTTP/1.2", good().line("GET /ws HTTP/1.2"), BAD_REQUEST),
        refused("HTTP/2.0", good().line("GET /ws HTTP/2.0"), BAD_REQUEST),
        refused("HTTP/0.9", "GET /ws\r\n\r\n", BAD_REQUEST),
        refused("no HTTP at all", "HELLO\r\n\r\n", BAD_REQUEST),
        refused("TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03", BAD_REQUEST),
    ])
    .await;
}

#[tokio::test]
async fn connection_has_the_token_upgrade() {
    let twice = good().but("Connection: keep-alive").and("Connection: Upgrade");
    check([
        upgrade_required("none", good().without("Connection")),
        upgrade_required("empty", good().but("Connection:")),
        upgrade_required("keep-alive", good().but("Connection: keep-alive")),
        upgrade_required("a longer token", good().but("Connection: Upgrades")),
        upgrade_required("in quotes", good().but("Connection: \"Upgrade\"")),
        upgrade_required("no comma", good().but("Connection: keep-alive Upgrade")),
        opened("in a list", good().but("Connection: keep-alive, Upgrade")),
        opened("first in a list", good().but("Connection: upgrade,keep-alive")),
        opened("tabs and empty elements", good().but("Connection:\t,\tkeep-alive ,, Upgrade ,")),
        opened("in the second header", twice),
        opened("of any case", good().but("Connection: uPGRADE")),
    ])
    .await;
}

#[tokio::test]
async fn upgrade_has_the_token_websocket() {
    let twice = good().but("Upgrade: h2c").and("Upgrade: websocket");
    check([
        upgrade_required("none", good().without("Upgrade")),
        upgrade_required("empty", good().but("Upgrade:")),
        upgrade_required("h2c", good().but("Upgrade: h2c")),
        upgrade_required("with a version", good().but("Upgrade: websocket/13")),
        upgrade_required("a longer token", good().but("Upgrade: websockets")),
        opened("in a list", good().but("Upgrade: h2c, websocket")),
        opened("in the second header", twice),
        opened("of any case", good().but("upgrade: WebSocket")),
    ])
    .await;
}

#[tokio::test]
async fn version_is_13_once() {
    let names_13 =
        |name, request| upgrade_required(name, request).with("sec-websocket-version: 13");
    check([
        names_13("none", good().without("Sec-WebSocket-Version")),
        names_13("empty", good().version("")),
        names_13("8", good().version("8")),
        names_13("7", good().version("7")),
        names_13("0", good().version("0")),
        names_13("14", good().version("14")),
        names_13("013", good().version("013")),
        names_13("thirteen", good().version("thirteen")),
        names_13("list", good().version("13, 8")),
        names_13("twice", good().and("Sec-WebSocket-Version: 13")),
        names_13("another before it", good().version("8").and("Sec-WebSocket-Version: 13")),
        opened("spaces around it", good().version("  13  ")),
    ])
    .await;
}

#[tokio::test]
async fn key_is_16_bytes_in_base64_once() {
    let bad_key = |name, key| refused(name, good().key(key), BAD_REQUEST);
    check([
        opened("of the RFC", good().key("dGhlIHNhbXBsZSBub25jZQ==")),
        opened_by("other", good().key("x3JJHMbDL1EzLkh9GBhXDw=="), "HSmrc0sMlYUkAGmm5OPpG2HaGWk="),
        refused("none", good().without("Sec-WebSocket-Key"), BAD_REQUEST),
        bad_key("empty", ""),
        bad_key("of 15 bytes", "dGhlIHNhbXBsZSBub25j"),
        bad_key("of 17 bytes", "dGhlIHNhbXBsZSBub25jZSE="),
        bad_key("of 18 bytes", "dGhlIHNhbXBsZSBub25jZSEh"),
        bad_key("without padding", "dGhlIHNhbXBsZSBub25jZQ"),
        bad_key("with half the padding", "dGhlIHNhbXBsZSBub25jZQ="),
        bad_key("with too much padding", "dGhlIHNhbXBsZSBub25jZ==="),
        bad_key("of other letters", "dGhlIHNhbXBsZSBub25j*Q=="),
        bad_key("of the letters for URLs", "dGhlIHNhbXBsZSBub25j-_=="),
        bad_key("with a space", "dGhlIHNhbXBs SBub25jZQ=="),
        bad_key("with a second one", "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="),
        refused("twice", good().and("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), BAD_REQUEST),
        // RFC 4648, 3.5 lets a decoder be lenient with the bits behind the 16 bytes.
        opened_by(
            "that was not written by an encoder",
            good().key("dGhlIHNhbXBsZSBub25jZR=="),
            "Zgw8jYXtqX5qJr7MJ1Q/MqzeSRI=",
        ),
    ])
    .await;
}

#[tokio::test]
async fn host_header_is_present_exactly_once() {
    check([
        refused("none", good().without("Host"), BAD_REQUEST),
        refused("twice", good().and("Host: localhost"), BAD_REQUEST),
        refused("two of them", good().and("Host: other.example"), BAD_REQUEST),
        refused("empty", good().but("Host:"), BAD_REQUEST),
        refused("no host", good().but("Host: a b"), BAD_REQUEST),
        refused("a list", good().but("Host: a, b"), BAD_REQUEST),
        refused("a URL", good().but("Host: http://localhost/"), BAD_REQUEST),
        refused("none, and no upgrade", good().without("Host").without("Upgrade"), BAD_REQUEST),
        opened("with a port", good().but("Host: localhost:8080")),
        opened("IPv6", good().but("Host: [::1]:8080")),
        opened("with an underscore", good().but("Host: my_host.internal")),
    ])
    .await;
}

/// RFC 3986, 3.2.2 and 3.2.3, in `Host` and in a target that names the server.
#[tokio::test]
async fn host_is_a_name_or_an_address_and_its_port_a_number() {
    for bad in [
        "user@localhost",
        "user:password@localhost",
        "@localhost",
        "localhost:abc",
        "localhost:-1",
        "localhost:+80",
        "localhost:65536",
        "localhost:80:80",
        ":80",
        ":",
        "::1",
        "[::1]x",
        "[::1]:x",
        "[::1",
        "[::g]",
        "[]",
        "[127.0.0.1]",
        "[v1.a]",
        "[fe80::1%25eth0]",
        "a%zzb",
        "a%2",
        "a%",
        "a\"b",
        "a\\b",
        "é.example",
    ] {
        check([
            refused(bad, good().but(&format!("Host: {bad}")), BAD_REQUEST),
            refused(bad, good().path(&format!("http://{bad}/ws")), BAD_REQUEST),
        ])
        .await;
    }
    for fine in [
        "localhost:",
        "localhost:0080",
        "localhost:65535",
        "LOCALHOST",
        "a.example.",
        "127.0.0.1:80",
        "[::1]",
        "[::ffff:127.0.0.1]:80",
        "a~b!$&'()*+,;=_c",
    ] {
        check([
            opened(fine, good().but(&format!("Host: {fine}"))),
            opened(fine, good().path(&format!("http://{fine}/ws"))),
        ])
        .await;
    }
    check([opened("percent-encoded", good().but("Host: a%2Db"))]).await;
}

#[tokio::test]
async fn host_is_checked_although_the_target_names_another() {
    let absolute = || good().path("http://localhost/ws");
    check([
        opened("another host", absolute().but("Host: other.example")),
        refused("none", absolute().without("Host"), BAD_REQUEST),
        refused("user", absolute().but("Host: user@localhost"), BAD_REQUEST),
    ])
    .await;
}

#[tokio::test]
async fn offered_extensions_and_subprotocols_are_declined_by_default() {
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    let both = good().and("Sec-WebSocket-Protocol: chat").and(deflate);
    check([
        opened("subprotocol", good().and("Sec-WebSocket-Protocol: chat")),
        opened("subprotocols", good().and("Sec-WebSocket-Protocol: chat, superchat")),
        opened("no subprotocol", good().and("Sec-WebSocket-Protocol:")),
        opened("extension", good().and(deflate)),
        opened("unknown extension", good().and("Sec-WebSocket-Extensions: x-unknown; a=\"b\"")),
        opened("both", both),
    ])
    .await;
}

#[tokio::test]
async fn path_finds_its_route() {
    check([
        opened("parameter", good().path("/ws/lobby")),
        opened("query", good().path("/ws?a=1&b=%FF")),
        opened("empty query", good().path("/ws?")),
        opened("percent-encoded", good().path("/ws/a%20b%2Fc")),
        opened("percent sign alone", good().path("/ws/100%")),
        opened("percent sign and no hex", good().path("/ws/%zz")),
        opened("absolute form", good().path("http://localhost/ws")),
        opened("absolute form of ws", good().path("ws://localhost/ws?a=1")),
        refused("not UTF-8", good().path("/ws/%FF"), BAD_REQUEST),
        refused("half a character", good().path("/ws/%E2%82"), BAD_REQUEST),
        refused("with a space", good().path("/ws/a b"), BAD_REQUEST),
        refused("in angle brackets", good().path("/ws/<a>"), BAD_REQUEST),
        refused("other", good().path("/other"), NOT_FOUND),
        refused("longer", good().path("/ws/lobby/1"), NOT_FOUND),
        refused("of any case", good().path("/WS"), NOT_FOUND),
        refused("asterisk", good().path("*"), NOT_FOUND),
    ])
    .await;
}

#[tokio::test]
async fn handshake_has_no_body() {
    let chunked = || good().and("Transfer-Encoding: chunked");
    let sized = |bytes| good().and(&format!("Content-Length: {bytes}"));
    check([
        opened("of no bytes", sized("0")),
        refused("of some bytes", sized("5").then(b"hello"), BAD_REQUEST),
        refused("that has not come", sized("5"), BAD_REQUEST),
        refused("that looks like a frame", sized("8").then(&frame(TEXT, b"hi")), BAD_REQUEST),
        refused("chunked", chunked().then(b"5\r\nhello\r\n0\r\n\r\n"), BAD_REQUEST),
        refused("chunked and empty", chunked().then(b"0\r\n\r\n"), BAD_REQUEST),
        refused("with a length and chunked", chunked().and("Content-Length: 5"), BAD_REQUEST),
        refused("of two lengths", sized("5").and("Content-Length: 6"), BAD_REQUEST),
        refused("of no length", sized("many"), BAD_REQUEST),
    ])
    .await;
}

#[tokio::test]
async fn head_that_is_not_http_is_refused() {
    check([
        refused("line without a colon", good().and("No-Colon"), BAD_REQUEST),
        refused("space before the colon", good().and("X-A : b"), BAD_REQUEST),
        refused("space in a name", good().and("X A: b"), BAD_REQUEST),
        refused("no name", good().and(": b"), BAD_REQUEST),
        refused("folded line", good().and("X-A: b\r\n c"), BAD_REQUEST),
        refused("CR alone", good().and("X-A: b\rc"), BAD_REQUEST),
        refused("NUL", good().and("X-A: b\0c"), BAD_REQUEST),
        refused("control character", good().and("X-A: b\x01c"), BAD_REQUEST),
        // RFC 9112, 2.2 lets a server take these.
        opened("LF alone", good().text().replace("\r\n", "\n")),
        opened("empty lines before it", format!("\r\n\r\n{}", good().text())),
        opened("bytes that are not ASCII in a value", good().and("X-A: é")),
    ])
    .await;
}

#[tokio::test]
async fn bytes_after_the_handshake_are_read_as_frames() {
    let two = [frame(TEXT, b"1"), frame(BINARY, b"2")].concat();
    check([
        opened("frames", good().then(&two))
            .and_then(Outcome::answered(&[(TEXT, b"1"), (BINARY, b"2")])),
        opened("garbage", good().then(b"garbage!\r\n")).and_then(Outcome::refused(PROTOCOL)),
        opened("another request", good().then(good().text().as_bytes()))
            .and_then(Outcome::refused(PROTOCOL)),
        opened("unmasked frame", good().then(b"\x81\x01a")).and_then(Outcome::refused(PROTOCOL)),
    ])
    .await;
}

#[tokio::test]
async fn refused_client_may_try_again_on_its_connection() {
    let server = echo(&Hub::with_codec(Raw).build().unwrap()).await;
    for (line, body_bytes) in [("GET /ws HTTP/1.1", 26), ("HEAD /ws HTTP/1.1", 0)] {
        let mut client = RawClient::open(server.addr).await;
        let refused = good().line(line).without("Upgrade").text();
        client.send(&[refused, good().text()].concat().into_bytes()).await;
        assert!(client.read_head().await.starts_with(UPGRADE_REQUIRED));
        client.skip(body_bytes).await;
        assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
        Outcome::answered(&[]).check(client).await;
    }
}

#[tokio::test]
async fn closed_hub_gets_503() {
    let hub = Hub::with_codec(Raw).build().unwrap();
    let server = echo(&hub).await;
    hub.shutdown_now();
    let row = refused("closed", good(), "HTTP/1.1 503 Service Unavailable");
    check_row(&server, &row, &[good().text().as_bytes()]).await;
    let row = refused("no handshake all the same", good().without("Host"), BAD_REQUEST);
    check_row(&server, &row, &[good().without("Host").text().as_bytes()]).await;
}
