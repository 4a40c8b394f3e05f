//! UTF-8 in messages, and the byte at which a violation is detected (RFC 6455, 5.6 and 8.1).

use crate::row::{INVALID, answered, check, front, refused};
use support::{BINARY, CONTINUATION, FIN, PING, PONG, TEXT, frame};

/// A text in fragments.
fn fragments(first: &[u8], between: &[&[u8]], last: &[u8]) -> Vec<u8> {
    let between = between.iter().flat_map(|payload| frame(CONTINUATION & !FIN, payload));
    [frame(TEXT & !FIN, first), between.collect(), frame(CONTINUATION, last)].concat()
}

#[tokio::test]
async fn text_of_any_character_passes() {
    let edges = "\0\x7F\u{80}\u{7FF}\u{800}\u{D7FF}\u{E000}\u{FFFD}\u{10000}\u{10FFFF}".as_bytes();
    check([
        answered("at the edges of each length", frame(TEXT, edges), &[(TEXT, edges)]),
        answered("no character", frame(TEXT, b"\xEF\xBF\xBF"), &[(TEXT, b"\xEF\xBF\xBF")]),
        answered("byte order mark", frame(TEXT, b"\xEF\xBB\xBFa"), &[(TEXT, b"\xEF\xBB\xBFa")]),
        answered(
            "cut in characters",
            fragments(b"\xC3", &[b"\xA9\xE2", b"\x82", b"\xAC\xF0\x9F"], b"\x98\x80"),
            &[(TEXT, "é€😀".as_bytes())],
        ),
        answered(
            "binary of any bytes",
            frame(BINARY, b"\xFF\xC0\xAF"),
            &[(BINARY, b"\xFF\xC0\xAF")],
        ),
    ])
    .await;
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused() {
    check([
        refused("byte that never is", frame(TEXT, b"a\xFFb"), INVALID),
        refused("second byte first", frame(TEXT, b"\x80"), INVALID),
        refused("first byte twice", frame(TEXT, b"\xC3\xC3\xA9"), INVALID),
        refused("ASCII in a character", frame(TEXT, b"\xE2\x82a"), INVALID),
        refused("lowest surrogate", frame(TEXT, b"\xED\xA0\x80"), INVALID),
        refused("highest surrogate", frame(TEXT, b"\xED\xBF\xBF"), INVALID),
        refused("pair of surrogates", frame(TEXT, b"\xED\xA0\xBD\xED\xB8\x80"), INVALID),
        refused("/ in 2 bytes", frame(TEXT, b"\xC0\xAF"), INVALID),
        refused("DEL in 2 bytes", frame(TEXT, b"\xC1\xBF"), INVALID),
        refused("/ in 3 bytes", frame(TEXT, b"\xE0\x80\xAF"), INVALID),
        refused("U+07FF in 3 bytes", frame(TEXT, b"\xE0\x9F\xBF"), INVALID),
        refused("/ in 4 bytes", frame(TEXT, b"\xF0\x80\x80\xAF"), INVALID),
        refused("U+FFFF in 4 bytes", frame(TEXT, b"\xF0\x8F\xBF\xBF"), INVALID),
        refused("NUL in 2 bytes", frame(TEXT, b"\xC0\x80"), INVALID),
        refused("U+110000", frame(TEXT, b"\xF4\x90\x80\x80"), INVALID),
        refused("U+140000", frame(TEXT, b"\xF5\x80\x80\x80"), INVALID),
        refused("5 bytes", frame(TEXT, b"\xF8\x88\x80\x80\x80"), INVALID),
        refused("6 bytes", frame(TEXT, b"\xFC\x84\x80\x80\x80\x80"), INVALID),
    ])
    .await;
}

#[tokio::test]
async fn text_that_ends_inside_a_character_is_refused() {
    check([
        refused("after 1 of 2 bytes", frame(TEXT, b"a\xC3"), INVALID),
        refused("after 1 of 3 bytes", frame(TEXT, b"a\xE2"), INVALID),
        refused("after 2 of 3 bytes", frame(TEXT, b"a\xE2\x82"), INVALID),
        refused("after 3 of 4 bytes", frame(TEXT, b"a\xF0\x9F\x98"), INVALID),
        refused("in the last fragment", fragments(b"a", &[], b"b\xC3"), INVALID),
        refused("before an empty last fragment", fragments(b"a\xE2\x82", &[], b""), INVALID),
        refused("over all fragments", fragments(b"\xF0", &[b"\x9F"], b"\x98"), INVALID),
    ])
    .await;
}

#[tokio::test]
async fn text_is_refused_at_the_byte_that_breaks_it() {
    let begun = |payload| front(TEXT, 20, payload);
    let fragment = |payload| frame(TEXT & !FIN, payload);
    let second = |payload| [fragment(b"a\xE2"), front(CONTINUATION & !FIN, 9, payload)].concat();
    let ping = [fragment(b"\xE2"), frame(PING, b""), front(CONTINUATION, 2, b"A")].concat();
    check([
        refused("in a frame that goes on", begun(b"good\xFF"), INVALID),
        refused("at once", begun(b"\x80"), INVALID),
        refused("at the second byte of a surrogate", begun(b"\xED\xA0"), INVALID),
        refused("at the second byte of U+110000", begun(b"\xF4\x90"), INVALID),
        refused("at the second byte of an overlong form", begun(b"\xE0\x80"), INVALID),
        refused("at the second byte of a longer one", begun(b"\xF0\x8F"), INVALID),
        refused("at the first byte of an overlong form", begun(b"\xC0"), INVALID),
        refused("in a message that goes on", fragment(b"a\xFF"), INVALID),
        refused("in its second fragment", second(b"A"), INVALID),
        refused("in its second fragment, later", second(b"\x82\xACz\xFF"), INVALID),
        refused("behind a ping", ping, INVALID).after(&[(PONG, b"")]),
    ])
    .await;
}

#[tokio::test]
async fn incomplete_character_waits_for_its_next_fragment() {
    let ping = |text: &[u8]| [frame(TEXT & !FIN, text), frame(PING, b"")].concat();
    check([
        answered("after 1 of 2 bytes", ping(b"\xC3"), &[(PONG, b"")]),
        answered("after 2 of 3 bytes", ping(b"\xE2\x82"), &[(PONG, b"")]),
        answered("after 3 of 4 bytes", ping(b"\xF4\x8F\xBF"), &[(PONG, b"")]),
    ])
    .await;
}
