//! Close frames (RFC 6455, 5.5.1 and 7).

use crate::row::{INVALID, PROTOCOL, check, closed, refused};
use support::{CLOSE, FIN, PING, TEXT, close_payload, frame, header};

/// A close frame, masked.
fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &close_payload(code, reason))
}

#[tokio::test]
async fn codes_that_may_be_sent_come_back() {
    let good = (1_000..=1_003).chain(1_007..=1_014).chain([3_000, 3_999, 4_000, 4_999]);
    check(
        good.map(|code| {
            closed(format!("code {code}"), close(code, b""), &close_payload(code, b""))
        }),
    )
    .await;
}

#[tokio::test]
async fn codes_that_may_not_be_sent_are_refused() {
    let bad =
        [0, 1, 999, 1_004, 1_005, 1_006, 1_015, 1_016, 1_100, 2_000, 2_999, 5_000, 32_768, 65_535];
    check(bad.map(|code| refused(format!("code {code}"), close(code, b""), PROTOCOL))).await;
    check([
        refused("with a reason", close(1_005, b"why"), PROTOCOL),
        refused("with a bad reason", close(999, b"\xFF"), PROTOCOL),
    ])
    .await;
}

#[tokio::test]
async fn close_frame_comes_back_as_it_was() {
    let most = [b'r'; 123];
    let accents = "é".repeat(61);
    check([
        closed("empty", frame(CLOSE, b""), b""),
        closed("a reason", close(1_000, b"done"), &close_payload(1_000, b"done")),
        closed("the longest reason", close(4_000, &most), &close_payload(4_000, &most)),
        closed(
            "a reason that is not ASCII",
            close(1_001, accents.as_bytes()),
            &close_payload(1_001, accents.as_bytes()),
        ),
    ])
    .await;
}

#[tokio::test]
async fn malformed_close_frames_are_refused() {
    check([
        refused("of one byte", frame(CLOSE, b"\x03"), PROTOCOL),
        refused("reason that is not UTF-8", close(1_000, b"\xFF"), INVALID),
        refused("reason with a surrogate", close(1_000, b"\xED\xA0\x80"), INVALID),
        refused("reason in an overlong form", close(1_000, b"a\xC0\xAF"), INVALID),
        refused("reason that ends in a character", close(1_000, b"why\xE2\x82"), INVALID),
    ])
    .await;
}

#[tokio::test]
async fn bytes_after_a_close_frame_are_ignored() {
    let goodbye = close_payload(1_000, b"");
    let then = |bytes: &[u8]| [&frame(CLOSE, &goodbye), bytes].concat();
    check([
        closed("text", then(&frame(TEXT, b"late")), &goodbye),
        closed("first fragment", then(&frame(TEXT & !FIN, b"late")), &goodbye),
        closed("ping", then(&frame(PING, b"late")), &goodbye),
        closed("frame without a mask", then(b"\x81\x04late"), &goodbye),
        closed("reserved bits", then(&frame(0xF1, b"")), &goodbye),
        closed("length over the limit", then(&header(TEXT, 1 << 40)), &goodbye),
        closed("text that is not UTF-8", then(&frame(TEXT, b"\xFF")), &goodbye),
        closed("no frame at all", then(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"), &goodbye),
        closed("the same again", then(&frame(CLOSE, &goodbye)), &goodbye),
        closed("another close frame", then(&close(4_000, b"no, this")), &goodbye),
        closed("half a frame", then(&frame(TEXT, b"late")[..7]), &goodbye),
    ])
    .await;
}

#[tokio::test]
async fn bytes_after_a_protocol_violation_are_ignored() {
    let then = |bytes: &[u8]| [&frame(0x83, b""), bytes].concat();
    check([
        refused("text", then(&frame(TEXT, b"late")), PROTOCOL),
        refused("ping", then(&frame(PING, b"late")), PROTOCOL),
        refused("another breach", then(&frame(TEXT, b"\xFF")), PROTOCOL),
        refused("close frame", then(&close(1_000, b"")), PROTOCOL),
    ])
    .await;
}

#[tokio::test]
async fn messages_before_a_protocol_violation_are_answered() {
    let text = frame(TEXT, b"1");
    check([
        refused("code that may not be", [text.clone(), close(1_005, b"")].concat(), PROTOCOL)
            .after(&[(TEXT, b"1")]),
        refused("text that is not UTF-8", [text, frame(TEXT, b"\xFF")].concat(), INVALID)
            .after(&[(TEXT, b"1")]),
    ])
    .await;
}
