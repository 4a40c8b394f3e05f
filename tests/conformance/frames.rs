//! Frame headers: masks, reserved bits, opcodes, and the limits of control frames (RFC 6455, 5.1, 5.2, 5.5).

use crate::row::{PROTOCOL, answered, check, refused};
use support::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, close_payload, frame};

#[tokio::test]
async fn unmasked_frames_are_refused() {
    let inside = [&frame(TEXT & !FIN, b"1")[..], b"\x80\x012"].concat();
    check([
        refused("text", b"\x81\x05hello", PROTOCOL),
        refused("binary", b"\x82\x03\x01\x02\x03", PROTOCOL),
        refused("empty text", b"\x81\x00", PROTOCOL),
        refused("ping", b"\x89\x04ping", PROTOCOL),
        refused("empty ping", b"\x89\x00", PROTOCOL),
        refused("pong", b"\x8A\x04pong", PROTOCOL),
        refused("close", b"\x88\x02\x03\xE8", PROTOCOL),
        refused("empty close", b"\x88\x00", PROTOCOL),
        refused("continuation", inside, PROTOCOL),
        refused("first fragment", b"\x01\x01a", PROTOCOL),
        refused("length of 16 bits", b"\x82\x7E\x00\x7E", PROTOCOL),
        refused("length of 64 bits", b"\x82\x7F\0\0\0\0\0\x01\0\0", PROTOCOL),
        refused("at the second byte", b"\x81\x05", PROTOCOL),
        refused("after a masked one", [&frame(TEXT, b"1")[..], b"\x81\x012"].concat(), PROTOCOL)
            .after(&[(TEXT, b"1")]),
    ])
    .await;
}

#[tokio::test]
async fn every_mask_is_removed() {
    check([
        answered("of zeros", b"\x81\x83\0\0\0\0abc", &[(TEXT, b"abc")]),
        answered("of ones", b"\x82\x83\xFF\xFF\xFF\xFF\xFE\xFD\xFC", &[(BINARY, b"\x01\x02\x03")]),
        answered(
            "another for each frame",
            b"\x81\x81\x01\x01\x01\x01`\x82\x85\x01\x02\x03\x04\x01\x02\x03\x04\x01",
            &[(TEXT, b"a"), (BINARY, b"\0\0\0\0\0")],
        ),
        answered(
            "another for each fragment",
            b"\x01\x81\x01\x01\x01\x01`\x80\x81\x02\x02\x02\x02`",
            &[(TEXT, b"ab")],
        ),
        answered("that nothing is under", b"\x89\x80\xDE\xAD\xBE\xEF", &[(PONG, b"")]),
    ])
    .await;
}

#[tokio::test]
async fn reserved_bits_are_refused() {
    let bits = [("RSV1", 0x40), ("RSV2", 0x20), ("RSV3", 0x10), ("all three", 0x70)];
    check(bits.map(|(name, bit)| refused(name, frame(TEXT | bit, b"1"), PROTOCOL))).await;
    let inside = [frame(TEXT & !FIN, b"1"), frame(CONTINUATION | 0x40, b"2")].concat();
    check([
        refused("on binary", frame(BINARY | 0x40, b"1"), PROTOCOL),
        refused("on a ping", frame(PING | 0x40, b"1"), PROTOCOL),
        refused("on a pong", frame(PONG | 0x20, b"1"), PROTOCOL),
        refused("on a close", frame(CLOSE | 0x10, &close_payload(1_000, b"")), PROTOCOL),
        refused("on a continuation", inside, PROTOCOL),
        refused("at the first byte", b"\xC1", PROTOCOL),
    ])
    .await;
}

#[tokio::test]
async fn reserved_opcodes_are_refused() {
    let reserved = [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF];
    let row = |opcode| refused(format!("{opcode:#X}"), frame(FIN | opcode, b"1"), PROTOCOL);
    check(reserved.map(row)).await;
    check([
        refused("without FIN", frame(0x3, b""), PROTOCOL),
        refused("at the first byte", b"\x8F", PROTOCOL),
        refused(
            "inside a message",
            [frame(TEXT & !FIN, b"1"), frame(0x83, b"")].concat(),
            PROTOCOL,
        ),
    ])
    .await;
}

#[tokio::test]
async fn control_frames_have_at_most_125_bytes() {
    let most = [b'p'; 125];
    check([
        answered("ping of 0", frame(PING, b""), &[(PONG, b"")]),
        answered("ping of 125", frame(PING, &most), &[(PONG, &most)]),
        answered("ping that is no text", frame(PING, b"\xFF\0\xFE"), &[(PONG, b"\xFF\0\xFE")]),
        answered("pong of 125", frame(PONG, &most), &[]),
        refused("ping of 126", frame(PING, &[b'p'; 126]), PROTOCOL),
        refused("pong of 126", frame(PONG, &[b'p'; 126]), PROTOCOL),
        refused("close of 126", frame(CLOSE, &close_payload(1_000, &[b'r'; 124])), PROTOCOL),
        refused("ping of 64 KiB", b"\x89\xFF\0\0\0\0\0\x01\0\0", PROTOCOL),
        refused("ping of 1 in 16 bits", b"\x89\xFE\0\x01", PROTOCOL),
        refused("at the second byte", b"\x89\xFE", PROTOCOL),
    ])
    .await;
}

#[tokio::test]
async fn control_frames_are_never_fragments() {
    let payload = close_payload(1_000, b"");
    check([
        refused("ping", frame(PING & !FIN, b"p"), PROTOCOL),
        refused("pong", frame(PONG & !FIN, b"p"), PROTOCOL),
        refused("close", frame(CLOSE & !FIN, &payload), PROTOCOL),
        refused("empty ping", frame(PING & !FIN, b""), PROTOCOL),
        refused("at the first byte", b"\x09", PROTOCOL),
    ])
    .await;
}

#[tokio::test]
async fn unsolicited_pongs_are_ignored() {
    let between = [frame(PONG, b"a"), frame(TEXT, b"1"), frame(PONG, b"b")].concat();
    check([
        answered("empty", frame(PONG, b""), &[]),
        answered("with a payload", frame(PONG, b"unasked"), &[]),
        answered("before and after a message", between, &[(TEXT, b"1")]),
    ])
    .await;
}

#[tokio::test]
async fn each_ping_is_answered_with_its_payload() {
    let pings = [frame(PING, b"1"), frame(PING, b""), frame(PING, b"3")].concat();
    check([
        answered("three in a row", pings, &[(PONG, b"1"), (PONG, b""), (PONG, b"3")]),
        refused("one before a breach", [frame(PING, b"1"), frame(0x83, b"")].concat(), PROTOCOL)
            .after(&[(PONG, b"1")]),
    ])
    .await;
}
