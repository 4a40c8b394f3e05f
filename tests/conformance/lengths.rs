//! Lengths: their encodings (RFC 6455, 5.2), and the limit of a message (10.4).

use crate::row::{LIMIT, PROTOCOL, TOO_BIG, answered, check, check_under, refused};
use support::{BINARY, CONTINUATION, FIN, PING, PONG, TEXT, frame, header};

#[tokio::test]
async fn length_is_in_its_shortest_form() {
    check([
        answered("125", frame(TEXT, &[b'a'; 125]), &[(TEXT, &[b'a'; 125])]),
        answered("126", frame(TEXT, &[b'a'; 126]), &[(TEXT, &[b'a'; 126])]),
        answered("127", frame(BINARY, &[1; 127]), &[(BINARY, &[1; 127])]),
        refused("0 in 16 bits", b"\x81\xFE\0\0", PROTOCOL),
        refused("125 in 16 bits", b"\x81\xFE\0\x7D", PROTOCOL),
        refused("0 in 64 bits", b"\x81\xFF\0\0\0\0\0\0\0\0", PROTOCOL),
        refused("125 in 64 bits", b"\x82\xFF\0\0\0\0\0\0\0\x7D", PROTOCOL),
        refused("126 in 64 bits", b"\x82\xFF\0\0\0\0\0\0\0\x7E", PROTOCOL),
        refused("65,535 in 64 bits", b"\x82\xFF\0\0\0\0\0\0\xFF\xFF", PROTOCOL),
        refused(
            "5 in 16 bits, of a continuation",
            [frame(TEXT & !FIN, b"a"), b"\x80\xFE\0\x05".to_vec()].concat(),
            PROTOCOL,
        ),
    ])
    .await;
}

#[tokio::test]
async fn length_of_more_than_63_bits_is_refused_at_its_first_byte() {
    check([
        refused("2^63", header(BINARY, 1 << 63), PROTOCOL),
        refused("2^64 - 1", header(BINARY, u64::MAX), PROTOCOL),
        refused("at the third byte", b"\x82\xFF\x80", PROTOCOL),
    ])
    .await;
}

#[tokio::test]
async fn length_over_the_limit_is_refused_at_the_header() {
    let over = LIMIT as u64 + 1;
    check([
        refused("2^63 - 1", header(BINARY, i64::MAX as u64), TOO_BIG),
        refused("2^32", header(BINARY, 1 << 32), TOO_BIG),
        refused("text over the limit", header(TEXT, over), TOO_BIG),
        refused("binary over the limit", header(BINARY, over), TOO_BIG),
        refused("fragment over the limit", header(TEXT & !FIN, over), TOO_BIG),
        refused("all of the message follows", frame(TEXT, &[b'a'; LIMIT + 1]), TOO_BIG),
    ])
    .await;
}

#[tokio::test]
async fn message_at_the_limit_passes() {
    let most = [b'a'; LIMIT];
    let halves = [frame(TEXT & !FIN, &most[..500]), frame(CONTINUATION, &most[500..])].concat();
    let ping = [&frame(BINARY & !FIN, &most)[..], &frame(PING, &[b'p'; 125])].concat();
    let twice = [frame(TEXT, &most), frame(TEXT, &most)].concat();
    check([
        answered("in one frame", frame(TEXT, &most), &[(TEXT, &most)]),
        answered("in two fragments", halves, &[(TEXT, &most)]),
        answered(
            "with a ping inside",
            [ping, frame(CONTINUATION, b"")].concat(),
            &[(PONG, &[b'p'; 125]), (BINARY, &most)],
        ),
        answered("and one more", twice, &[(TEXT, &most), (TEXT, &most)]),
    ])
    .await;
}

#[tokio::test]
async fn fragments_over_the_limit_are_refused_at_the_header_that_exceeds_it() {
    let first = |bytes| frame(TEXT & !FIN, &vec![b'a'; bytes]);
    let part = |bytes| frame(CONTINUATION & !FIN, &vec![b'a'; bytes]);
    let last = |bytes| header(CONTINUATION, bytes);
    check([
        refused("second of two", [first(600), last(401)].concat(), TOO_BIG),
        refused("third of three", [first(600), part(400), last(1)].concat(), TOO_BIG),
        refused("not the last", [first(1_000), header(CONTINUATION & !FIN, 1)].concat(), TOO_BIG),
        refused("2^63 - 1", [first(1), last(i64::MAX as u64)].concat(), TOO_BIG),
    ])
    .await;
}

#[tokio::test]
async fn lengths_of_16_and_of_64_bits_meet_at_64_kib() {
    let text = vec![b'a'; 65_536];
    check_under(
        65_536,
        [
            answered("65,535", frame(TEXT, &text[1..]), &[(TEXT, &text[1..])]),
            answered("65,536, the limit", frame(BINARY, &text), &[(BINARY, &text)]),
            refused("65,537", header(BINARY, 65_537), TOO_BIG),
        ],
    )
    .await;
}
