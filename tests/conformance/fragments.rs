//! Fragmented messages, and frames between the fragments (RFC 6455, 5.4).

use crate::row::{PROTOCOL, answered, check, closed, refused};
use support::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, close_payload, frame};

const TEXT_PART: u8 = TEXT & !FIN;
const BINARY_PART: u8 = BINARY & !FIN;
const PART: u8 = CONTINUATION & !FIN;
const LAST: u8 = CONTINUATION;

/// Concatenates frames.
fn frames(frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect()
}

#[tokio::test]
async fn fragments_become_one_message() {
    let all = [(TEXT_PART, &b"a"[..]), (PART, b"b"), (PART, b"c"), (LAST, b"d")];
    let binary = [(BINARY_PART, &b"\xFF"[..]), (LAST, b"\xFE")];
    let both = [(TEXT_PART, &b"a"[..]), (LAST, b"b"), (BINARY_PART, b"c"), (LAST, b"d")];
    check([
        answered("two", frames(&[(TEXT_PART, b"a"), (LAST, b"b")]), &[(TEXT, b"ab")]),
        answered("four", frames(&all), &[(TEXT, b"abcd")]),
        answered("of bytes that are no text", frames(&binary), &[(BINARY, b"\xFF\xFE")]),
        answered("two messages", frames(&both), &[(TEXT, b"ab"), (BINARY, b"cd")]),
    ])
    .await;
}

#[tokio::test]
async fn frames_and_messages_may_be_empty() {
    let middle = [(TEXT_PART, &b"a"[..]), (PART, b""), (PART, b""), (LAST, b"b")];
    check([
        answered("text", frame(TEXT, b""), &[(TEXT, b"")]),
        answered("binary", frame(BINARY, b""), &[(BINARY, b"")]),
        answered("first fragment", frames(&[(TEXT_PART, b""), (LAST, b"a")]), &[(TEXT, b"a")]),
        answered("last fragment", frames(&[(TEXT_PART, b"a"), (LAST, b"")]), &[(TEXT, b"a")]),
        answered("fragments between", frames(&middle), &[(TEXT, b"ab")]),
        answered(
            "all fragments of a text",
            frames(&[(TEXT_PART, b""), (PART, b""), (LAST, b"")]),
            &[(TEXT, b"")],
        ),
        answered(
            "all fragments of a binary",
            frames(&[(BINARY_PART, b""), (LAST, b"")]),
            &[(BINARY, b"")],
        ),
    ])
    .await;
}

#[tokio::test]
async fn continuation_without_a_first_fragment_is_refused() {
    let after_whole = frames(&[(TEXT, b"1"), (LAST, b"2")]);
    let after_last = frames(&[(TEXT_PART, b"1"), (LAST, b"2"), (LAST, b"3")]);
    check([
        refused("at once", frame(LAST, b"1"), PROTOCOL),
        refused("at once, without FIN", frame(PART, b"1"), PROTOCOL),
        refused("at once, empty", frame(LAST, b""), PROTOCOL),
        refused("after a ping", frames(&[(PING, b""), (LAST, b"1")]), PROTOCOL)
            .after(&[(PONG, b"")]),
        refused("after a message", after_whole, PROTOCOL).after(&[(TEXT, b"1")]),
        refused("after the last fragment", after_last, PROTOCOL).after(&[(TEXT, b"12")]),
        refused("at the first byte", b"\x80", PROTOCOL),
    ])
    .await;
}

#[tokio::test]
async fn new_message_inside_a_fragmented_one_is_refused() {
    let later = frames(&[(TEXT_PART, b"1"), (PART, b"2"), (TEXT, b"3")]);
    let behind_ping = frames(&[(TEXT_PART, b"1"), (PING, b""), (TEXT, b"3")]);
    check([
        refused("text in text", frames(&[(TEXT_PART, b"1"), (TEXT, b"2")]), PROTOCOL),
        refused("part of text in text", frames(&[(TEXT_PART, b"1"), (TEXT_PART, b"2")]), PROTOCOL),
        refused("binary in text", frames(&[(TEXT_PART, b"1"), (BINARY, b"2")]), PROTOCOL),
        refused("text in binary", frames(&[(BINARY_PART, b"1"), (TEXT, b"2")]), PROTOCOL),
        refused("binary in binary", frames(&[(BINARY_PART, b"1"), (BINARY, b"2")]), PROTOCOL),
        refused("empty in empty", frames(&[(TEXT_PART, b""), (TEXT, b"")]), PROTOCOL),
        refused("after two fragments", later, PROTOCOL),
        refused("behind a ping", behind_ping, PROTOCOL).after(&[(PONG, b"")]),
        refused("at its first byte", [frame(TEXT_PART, b"1"), vec![TEXT]].concat(), PROTOCOL),
    ])
    .await;
}

#[tokio::test]
async fn control_frames_inside_a_message_are_answered_before_it() {
    let each = [(TEXT_PART, &b"a"[..]), (PING, b"1"), (PART, b"b"), (PING, b"2"), (LAST, b"c")];
    let pongs = [(TEXT_PART, &b"a"[..]), (PONG, b"1"), (LAST, b"b")];
    let most = [b'p'; 125];
    check([
        answered(
            "ping",
            frames(&[(TEXT_PART, b"a"), (PING, b"1"), (LAST, b"b")]),
            &[(PONG, b"1"), (TEXT, b"ab")],
        ),
        answered("pings", frames(&each), &[(PONG, b"1"), (PONG, b"2"), (TEXT, b"abc")]),
        answered("ping, and the message never ends", frames(&each[..2]), &[(PONG, b"1")]),
        answered("pong, which is ignored", frames(&pongs), &[(TEXT, b"ab")]),
        answered(
            "ping of 125 bytes",
            frames(&[(BINARY_PART, b"a"), (PING, &most), (LAST, b"b")]),
            &[(PONG, &most), (BINARY, b"ab")],
        ),
        refused("ping of 126 bytes", frames(&[(TEXT_PART, b"a"), (PING, &[0; 126])]), PROTOCOL),
    ])
    .await;
}

#[tokio::test]
async fn close_inside_a_message_ends_the_connection_without_it() {
    let goodbye = close_payload(1_001, b"bye");
    let cut_off = frames(&[(TEXT_PART, b"a"), (CLOSE, &goodbye)]);
    let late_end = frames(&[(TEXT_PART, b"a"), (CLOSE, &goodbye), (LAST, b"b")]);
    let torn = frames(&[(TEXT_PART, b"\xE2\x82"), (CLOSE, b"")]);
    check([
        closed("and it never ends", cut_off, &goodbye),
        closed("and it ends too late", late_end, &goodbye),
        closed("inside a character", torn, b""),
    ])
    .await;
}
