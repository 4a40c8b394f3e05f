//! Compressed messages: their frames (RFC 7692, section 6), their payload (section 7.2.2), and their
//! limits.

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Strategy};

use super::wire::*;
use super::{LIMIT, footprint};
use crate::engine::{CloseCode, FrameKind, Limit};
use crate::ws::decoder::{Event, OnCompressed, ProtocolError, WIRE_OVERHEAD};

/// The bit that marks a compressed message.
const RSV1: u8 = 0x40;

/// "Hello", compressed: RFC 7692, section 7.2.3.1.
const HELLO: &[u8] = &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];

fn inflating(limit: usize) -> Limited {
    Limited::new(limit, OnCompressed::Inflate)
}

fn text(text: &str) -> Seen {
    Seen::Message(FrameKind::Text, text.into())
}

/// Compresses a message as a client does: one deflate stream, flushed, without its last four bytes.
fn compressed(config: DeflateConfig, payload: &[u8]) -> Vec<u8> {
    let mut deflate = Deflate::new_with_config(config);
    let mut out = vec![0; payload.len() * 2 + 1_024];
    deflate.compress(payload, &mut out, DeflateFlush::SyncFlush).expect("there is space");
    assert_eq!(deflate.total_in() as usize, payload.len());
    out.truncate(deflate.total_out() as usize);
    assert!(out.ends_with(&[0, 0, 0xFF, 0xFF]));
    out.truncate(out.len() - 4);
    out
}

fn raw(config: DeflateConfig) -> DeflateConfig {
    DeflateConfig { window_bits: -15, ..config }
}

fn compact(payload: &[u8]) -> Vec<u8> {
    compressed(raw(DeflateConfig::default()), payload)
}

/// Bytes that no compressor makes shorter.
fn noise(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..bytes).map(|_| random.u8(..)).collect()
}

/// Decodes one compressed text whole, and byte by byte: the result must be the same.
fn inflated(limit: usize, payload: &[u8]) -> Seen {
    let bytes = frame(TEXT | RSV1, payload).bytes();
    let whole = run_with(inflating(limit), [&bytes[..]]);
    assert_eq!(run_with(inflating(limit), bytes.chunks(1)), whole);
    assert_eq!(whole.len(), 1, "{whole:?}");
    whole.into_iter().next().expect("one event")
}

fn failed(code: CloseCode) -> Seen {
    Seen::Failed(code)
}

#[test]
fn examples_of_the_rfc_are_inflated() {
    for (section, payload) in [
        ("7.2.3.1, one block", HELLO),
        (
            "7.2.3.3, a stored block",
            &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
        ),
        ("7.2.3.4, a final block", &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]),
        (
            "7.2.3.5, two blocks",
            &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
        ),
    ] {
        assert_eq!(inflated(LIMIT, payload), text("Hello"), "{section}");
    }
}

#[test]
fn fragments_of_the_rfc_are_inflated_together() {
    let bytes = stream(&[
        fragment(TEXT | RSV1, &HELLO[..3]),
        frame(PING, "between"),
        frame(CONTINUATION, &HELLO[3..]),
    ]);
    let expected = [Seen::Ping(b"between".to_vec()), text("Hello")];
    assert_eq!(run_with(inflating(LIMIT), [&bytes[..]]), expected);
    assert_eq!(run_with(inflating(LIMIT), bytes.chunks(1)), expected);

    // Section 7.2.3.6: the last fragment has only the rest of a flush.
    let flushed = [HELLO, &[0x00, 0x00, 0xFF, 0xFF]].concat();
    let bytes = stream(&[fragment(TEXT | RSV1, flushed), frame(CONTINUATION, [0x00])]);
    assert_eq!(run_with(inflating(LIMIT), [&bytes[..]]), [text("Hello")]);
}

#[test]
fn message_that_refers_to_the_message_before_is_refused() {
    // Section 7.2.3.2: the second "Hello" refers to the first.
    let bytes =
        stream(&[frame(TEXT | RSV1, HELLO), frame(TEXT | RSV1, [0xF2, 0x00, 0x11, 0x00, 0x00])]);
    let expected = [text("Hello"), failed(CloseCode::INVALID_PAYLOAD)];
    assert_eq!(run_with(inflating(LIMIT), [&bytes[..]]), expected);
}

#[test]
fn plain_and_compressed_messages_alternate() {
    let bytes = stream(&[
        frame(TEXT, "plain"),
        frame(BINARY | RSV1, HELLO),
        fragment(TEXT, "pl"),
        frame(CONTINUATION, "ain"),
        frame(TEXT | RSV1, HELLO),
    ]);
    let binary = Seen::Message(FrameKind::Binary, b"Hello".to_vec());
    let expected = [text("plain"), binary, text("plain"), text("Hello")];
    assert_eq!(run_with(inflating(LIMIT), [&bytes[..]]), expected);
    assert_eq!(run_with(inflating(LIMIT), bytes.chunks(1)), expected);
}

#[test]
fn reserved_bits_other_than_rsv1_on_a_first_frame_are_refused() {
    let open = fragment(TEXT | RSV1, HELLO).bytes();
    for (name, before, first) in [
        ("RSV2", &[][..], 0xA1),
        ("RSV3", &[], 0x91),
        ("RSV1 and RSV2", &[], 0xE1),
        ("RSV1 on a close", &[], 0xC8),
        ("RSV1 on a ping", &[], 0xC9),
        ("RSV1 on a pong", &[], 0xCA),
        ("RSV1 on a reserved opcode", &[], 0xC3),
        ("RSV1 on a continuation", &open, 0xC0),
        ("RSV1 on a fragment that is not the first", &open, 0x40),
        ("RSV1 on a ping in a message", &open, 0xC9),
        ("RSV1 on a message in a message", &open, 0xC1),
    ] {
        let bytes = [before, &[first]].concat();
        let seen = run_with(inflating(LIMIT), [&bytes[..]]);
        assert_eq!(seen, [failed(CloseCode::PROTOCOL)], "{name}");
    }
}

#[test]
fn text_is_checked_when_it_is_inflated() {
    let long = "a語".repeat(20_000);
    assert_eq!(inflated(LIMIT, &compact(long.as_bytes())), text(&long));
    for invalid in [&b"\xFF"[..], b"abc\xE8\xAA", b"\xED\xA0\x80"] {
        let payload = compact(invalid);
        assert_eq!(inflated(LIMIT, &payload), failed(CloseCode::INVALID_PAYLOAD), "{invalid:02x?}");
        let bytes = frame(BINARY | RSV1, payload).bytes();
        let binary = Seen::Message(FrameKind::Binary, invalid.to_vec());
        assert_eq!(run_with(inflating(LIMIT), [&bytes[..]]), [binary]);
    }
}

#[test]
fn compressed_bytes_that_are_not_utf8_are_collected_as_they_are() {
    let mut decoder = inflating(LIMIT);
    let open = fragment(TEXT | RSV1, [0xFF; 100]).bytes();
    assert_eq!(feed(&mut decoder, &open), Ok(vec![]));
    assert_eq!(footprint(&decoder), (100, 100));
}

#[test]
fn empty_messages_are_inflated() {
    for payload in [&[][..], &[0x00], &[0x02, 0x00], &[0x03, 0x00], &[0x03, 0x00, 0x00]] {
        assert_eq!(inflated(LIMIT, payload), text(""), "{payload:02x?}");
    }
}

#[test]
fn streams_after_a_final_block_go_on_at_the_next_byte_with_an_empty_window() {
    let last = [&[0xF3][..], &HELLO[1..]].concat();
    assert_eq!(inflated(LIMIT, &last), text("Hello"), "zlib's end of a stream");
    assert_eq!(inflated(LIMIT, &[&last[..], HELLO].concat()), text("HelloHello"));
    assert_eq!(inflated(LIMIT, &[&last[..], &last, &last].concat()), text("HelloHelloHello"));
    let referring = [&last[..], &[0xF2, 0x00, 0x11, 0x00, 0x00]].concat();
    assert_eq!(inflated(LIMIT, &referring), failed(CloseCode::INVALID_PAYLOAD));
}

#[test]
fn message_of_a_thousand_empty_blocks_is_empty() {
    for block in [&[0x00, 0x00, 0x00, 0xFF, 0xFF][..], &[0x03, 0x00], &[0x01, 0, 0, 0xFF, 0xFF]] {
        let blocks = block.repeat(1_000);
        assert_eq!(inflated(LIMIT, &[&blocks, &[0x00][..]].concat()), text(""));
        assert_eq!(inflated(LIMIT, &[&blocks, HELLO].concat()), text("Hello"));
    }
}

#[test]
fn rubbish_and_cut_messages_are_refused_with_1007_and_the_next_message_is_inflated() {
    let refused =
        |payload: &[u8]| feed(&mut inflating(LIMIT), &frame(TEXT | RSV1, payload).bytes());
    let error = |payload: &[u8]| refused(payload).expect_err("it is refused").close();
    for rubbish in [&[0xFF][..], &[0x06], &[0x00, 1, 0, 1, 0]] {
        let close = error(rubbish);
        assert_eq!(close.code, CloseCode::INVALID_PAYLOAD, "{rubbish:02x?}");
    }
    assert_eq!(error(&[0x06]).reason, "compressed message is not valid deflate");
    for end in 1..HELLO.len() {
        assert_eq!(error(&HELLO[..end]).reason, "compressed message is cut off", "{end} bytes");
    }
    // The four bytes that are missing are not those that the receiver appends.
    assert_eq!(error(&[0x00, 0x04, 0x00, 0xFB, 0xFF]).reason, "compressed message is cut off");
    assert_eq!(inflated(LIMIT, HELLO), text("Hello"));
}

#[test]
fn inflated_message_at_the_limit_passes_and_one_byte_more_is_refused() {
    // 65,537 bytes are the buffer that a thread keeps.
    for limit in [1, 2, 100, 65_535, 65_536, 65_537, 65_538, 200_000] {
        let payload = vec![b'x'; limit + 1];
        let within = text(&"x".repeat(limit));
        assert_eq!(inflated(limit, &compact(&payload[..limit])), within, "limit of {limit}");
        let over = inflated(limit, &compact(&payload));
        assert_eq!(over, failed(CloseCode::TOO_BIG), "limit of {limit}");
    }
}

#[test]
fn bomb_costs_no_more_memory_than_its_limit() {
    let bomb = compact(&vec![0; 4 << 20]);
    for limit in [1_000, LIMIT] {
        // Both frames are within the limit of compressed bytes.
        let bytes = frame(BINARY | RSV1, &bomb[..bomb.len().min(limit)]).bytes();
        let seen = feed(&mut inflating(limit), &bytes);
        assert_eq!(seen, Err(ProtocolError::Over(Limit::MessageBytes)), "limit of {limit}");
    }
}

#[test]
fn incompressible_message_at_the_limit_passes_however_it_was_compressed() {
    let stored = DeflateConfig { level: 0, ..DeflateConfig::default() };
    let fixed = DeflateConfig { strategy: Strategy::Fixed, ..DeflateConfig::default() };
    let small = DeflateConfig { mem_level: 1, ..DeflateConfig::default() };
    for limit in [1, 1_000, 65_536, 300_000] {
        let payload = noise(limit);
        for config in [DeflateConfig::default(), stored, fixed, small] {
            let compressed = compressed(raw(config), &payload);
            let bytes = frame(BINARY | RSV1, compressed).bytes();
            let expected = Seen::Message(FrameKind::Binary, payload.clone());
            assert!(run_with(inflating(limit), [&bytes[..]]) == [expected], "{limit}, {config:?}");
        }
    }
}

#[test]
fn compressed_bytes_are_bounded_by_the_header() {
    let limit = 800;
    let most = limit + limit / 8 + WIRE_OVERHEAD;
    let empty = |bytes: usize| {
        let mut blocks = [0x00, 0x00, 0x00, 0xFF, 0xFF].repeat(bytes / 5);
        blocks.resize(bytes - 1, 0x02);
        blocks
    };
    let over = Err(ProtocolError::Over(Limit::MessageBytes));
    let within = frame(TEXT | RSV1, vec![0xFF; most]).bytes();
    assert_ne!(feed(&mut inflating(limit), &within), over);
    let header = &frame(TEXT | RSV1, vec![0xFF; most + 1]).bytes()[..8];
    assert_eq!(feed(&mut inflating(limit), header), over);
    // The limit holds over all fragments, too.
    let mut decoder = inflating(limit);
    let open = fragment(TEXT | RSV1, empty(1_001)).bytes();
    assert_eq!(feed(&mut decoder, &open), Ok(vec![]));
    let last = &frame(CONTINUATION, vec![0; most - 999]).bytes()[..8];
    assert_eq!(feed(&mut decoder, last), over);
}

#[test]
fn plain_message_keeps_its_limit_where_compression_is_negotiated() {
    let over = frame(TEXT, vec![b'x'; 101]).bytes();
    assert_eq!(run_with(inflating(100), [&over[..6]]), [failed(CloseCode::TOO_BIG)]);
    let within = frame(TEXT, vec![b'x'; 100]).bytes();
    assert_eq!(run_with(inflating(100), [&within[..]]), [text(&"x".repeat(100))]);
}

#[test]
fn event_has_the_length_before_inflating() {
    for (first, payload, expected) in [(TEXT | RSV1, HELLO, Some(7)), (TEXT, b"Hello", None)] {
        let mut bytes = frame(first, payload).bytes();
        let seen = inflating(LIMIT).decode(&mut &mut bytes[..], |event| match event {
            Event::Message { compressed_bytes, .. } => compressed_bytes.map(|bytes| bytes.get()),
            other => panic!("{other:?}"),
        });
        assert_eq!(seen, Ok(Some(expected)));
    }
}

#[test]
fn message_may_be_inflated_while_another_is_taken() {
    let mut outer = frame(TEXT | RSV1, HELLO).bytes();
    let seen = inflating(LIMIT).decode(&mut &mut outer[..], |event| {
        assert_eq!(inflated(LIMIT, &compact(b"inner")), text("inner"));
        Seen::from(event)
    });
    assert_eq!(seen, Ok(Some(text("Hello"))));
}

#[test]
fn skipped_messages_are_not_inflated_and_frames_behind_them_are_seen() {
    let mut decoder = inflating(LIMIT);
    decoder.skip_compressed();
    let bytes = stream(&[frame(TEXT | RSV1, [0xFF]), frame(CLOSE, [])]);
    let seen = run_with(decoder, [&bytes[..]]);
    assert_eq!(seen[0], text(""));
    assert!(matches!(seen[1], Seen::Close(_)));
    let mut plain = with_limit(LIMIT);
    plain.skip_compressed();
    assert_eq!(run_with(plain, [&bytes[..]]), [failed(CloseCode::PROTOCOL)]);
}
