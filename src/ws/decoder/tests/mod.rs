//! Tests of the decoder's rules, one by one. `oracle` tests all rules together.

#[cfg(feature = "deflate")]
mod compressed;
mod oracle;
mod wire;

use super::*;
use crate::engine::{Close, CloseCode, FrameKind, Limit};
use wire::*;

const LIMIT: usize = 1 << 20;

/// Returns the capacity and the unchecked bytes of the open message.
fn footprint(decoder: &Decoder) -> (usize, usize) {
    let message = decoder.partial.as_ref().and_then(|partial| partial.message.as_ref());
    message.map_or((0, 0), |message| message.footprint())
}

fn codes(bytes: &[u8]) -> Option<CloseCode> {
    refusal(LIMIT, bytes).map(|error| error.close().code)
}

#[test]
fn a_silent_decoder_is_three_words_at_most_and_owns_nothing() {
    assert!(size_of::<Decoder>() <= 16);
    assert!(with_limit(LIMIT).is_idle());
}

#[test]
fn broken_framing_is_refused_with_1002_at_the_byte_that_breaks_it() {
    let refused: &[(&str, &[u8])] = &[
        ("RSV1", &[0xC1]),
        ("RSV2", &[0xA1]),
        ("RSV3", &[0x91]),
        ("opcode 3", &[0x83]),
        ("opcode 7", &[0x87]),
        ("opcode 11", &[0x8B]),
        ("opcode 15", &[0x8F]),
        ("fragmented close", &[0x08]),
        ("fragmented ping", &[0x09]),
        ("fragmented pong", &[0x0A]),
        ("continuation of nothing", &[0x80]),
        ("fragment of nothing", &[0x00]),
        ("text inside a message", &[0x01, 0x80, 0, 0, 0, 0, 0x81]),
        ("binary inside a message", &[0x01, 0x80, 0, 0, 0, 0, 0x02]),
        ("continuation after the end", &[0x81, 0x80, 0, 0, 0, 0, 0x80]),
        ("text that is not masked", &[0x81, 0x05]),
        ("ping that is not masked", &[0x89, 0x00]),
        ("ping of 126 bytes", &[0x89, 0x80 | 126]),
        ("close with a 64-bit length", &[0x88, 0x80 | 127]),
        ("125 in 16 bits", &[0x82, 0x80 | 126, 0, 125]),
        ("0 in 16 bits", &[0x82, 0x80 | 126, 0, 0]),
        ("65535 in 64 bits", &[0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]),
        ("0 in 64 bits", &[0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("length of 64 bits", &[0x82, 0x80 | 127, 0x80]),
    ];
    for (name, bytes) in refused {
        assert_eq!(codes(bytes), Some(CloseCode::PROTOCOL), "{name}");
        assert_eq!(codes(&bytes[..bytes.len() - 1]), None, "{name}: refused too early");
    }
}

#[test]
fn message_before_a_broken_frame_is_still_delivered() {
    let mut bytes = frame(TEXT, "first").bytes();
    bytes.push(0xFF);
    let first = Seen::Message(FrameKind::Text, b"first".to_vec());
    assert_eq!(run(LIMIT, [&bytes[..]]), [first, Seen::Failed(CloseCode::PROTOCOL)]);
}

#[test]
fn close_codes_are_those_that_the_rfc_allows_on_the_wire() {
    for code in 0..=u16::MAX {
        let payload = [&code.to_be_bytes()[..], b"bye"].concat();
        let seen = run(LIMIT, [&frame(CLOSE, payload).bytes()[..]]);
        let expected = match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Seen::Close(Close::new(code.into(), "bye")),
            _ => Seen::Failed(CloseCode::PROTOCOL),
        };
        assert_eq!(seen, [expected], "code {code}");
    }
}

#[test]
fn close_payloads_are_checked() {
    let reason = |reason: &[u8]| [&1000_u16.to_be_bytes()[..], reason].concat();
    let longest = "é".repeat(61) + "!";
    let cases = [
        (vec![], Seen::Close(Close::new(CloseCode::NO_STATUS, ""))),
        (vec![3], Seen::Failed(CloseCode::PROTOCOL)),
        (reason(b""), Seen::Close(Close::normal())),
        (reason(longest.as_bytes()), Seen::Close(Close::new(CloseCode::NORMAL, longest.clone()))),
        (reason(b"\xFF"), Seen::Failed(CloseCode::INVALID_PAYLOAD)),
        (reason(b"\xC3"), Seen::Failed(CloseCode::INVALID_PAYLOAD)),
    ];
    for (payload, expected) in cases {
        let bytes = frame(CLOSE, payload).bytes();
        assert_eq!(run(LIMIT, [&bytes[..]]), std::slice::from_ref(&expected));
        assert_eq!(run(LIMIT, bytes.chunks(1)), [expected]);
    }
}

#[test]
fn a_message_is_open_from_the_header_of_its_first_fragment_to_the_end_of_its_last() {
    let frames = [
        (fragment(TEXT, "a"), true),
        (frame(PING, "between"), true),
        (fragment(CONTINUATION, ""), true),
        (frame(CONTINUATION, "b"), false),
        (frame(TEXT, "whole"), false),
        (frame(PONG, ""), false),
    ];
    let mut decoder = with_limit(LIMIT);
    assert!(!decoder.message_is_open());
    for (frame, is_open) in frames {
        feed(&mut decoder, &frame.bytes()).expect("nothing is broken");
        assert_eq!(decoder.message_is_open(), is_open, "{frame:?}");
    }
}

#[test]
fn a_frame_that_lies_whole_in_the_input_is_not_copied_even_inside_a_message() {
    let mut decoder = with_limit(LIMIT);
    for opened_by in [&[][..], &fragment(TEXT, "a").bytes()] {
        feed(&mut decoder, opened_by).expect("nothing is broken");
        let mut bytes = frame(PING, "where it lies").bytes();
        let input = bytes.as_ptr_range();
        let ping = decoder.decode(&mut &mut bytes[..], |event| {
            let Event::Ping(payload) = event else { panic!("{event:?}") };
            assert_eq!(payload, b"where it lies");
            assert!(input.contains(&payload.as_ptr()), "copied: {opened_by:?}");
        });
        assert_eq!(ping, Ok(Some(())));
    }
}

#[test]
fn messages_at_each_boundary_of_length_arrive_whole_and_leave_nothing_behind() {
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, LIMIT - 1, LIMIT] {
        let payload: Vec<u8> = (0..length).map(|index| index as u8).collect();
        let bytes = frame(BINARY, payload.clone()).bytes();
        let expected = [Seen::Message(FrameKind::Binary, payload)];
        for size in [bytes.len(), 4_093, 65_536] {
            let mut decoder = with_limit(LIMIT);
            let mut seen = Vec::new();
            for read in bytes.chunks(size) {
                assert!(seen.is_empty());
                seen = feed(&mut decoder, read).expect("a frame in order");
            }
            assert!(seen == expected, "{length} bytes in reads of {size}");
            assert!(decoder.is_idle(), "{length} bytes in reads of {size}");
        }
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_header() {
    for limit in [0, 1, 125, 126, 65_535, 65_536, LIMIT] {
        let over = frame(TEXT, vec![b'x'; limit + 1]).bytes();
        let header = &over[..over.len() - limit - 1];
        assert_eq!(
            refusal(limit, header),
            Some(ProtocolError::Over(Limit::MessageBytes)),
            "limit of {limit}"
        );
        assert_eq!(refusal(limit, &header[..header.len() - 1]), None, "limit of {limit}");
        assert_eq!(refusal(limit, &frame(TEXT, vec![b'x'; limit]).bytes()), None);
    }
}

#[test]
fn the_largest_declared_length_is_refused_or_waited_for_and_reserves_nothing() {
    let mut header = vec![0x82, 0x80 | 127, 0x7F];
    header.resize(14, 0xFF);
    assert_eq!(codes(&header), Some(CloseCode::TOO_BIG));
    // Without a limit the decoder waits for the payload, if `usize` can hold its length.
    let is_countable = usize::try_from(u64::MAX >> 1).is_ok();
    assert_eq!(refusal(usize::MAX, &header).is_none(), is_countable);
}

#[test]
fn fragments_over_the_limit_are_refused_by_the_header_of_the_last() {
    let limit = 10;
    let within = [fragment(BINARY, [1; 4]), fragment(CONTINUATION, [2; 6])];
    for fin in [false, true] {
        let last = |payload: &[u8]| Frame { fin, ..frame(CONTINUATION, payload) }.bytes();
        let mut decoder = with_limit(limit);
        assert_eq!(feed(&mut decoder, &stream(&within)), Ok(vec![]));
        assert_eq!(
            feed(&mut decoder, &last(b"x")[..6]),
            Err(ProtocolError::Over(Limit::MessageBytes))
        );

        let mut decoder = with_limit(limit);
        assert_eq!(feed(&mut decoder, &stream(&within)), Ok(vec![]));
        assert!(feed(&mut decoder, &last(b"")).is_ok());
    }
}

#[test]
fn control_frames_are_not_under_the_limit_of_messages() {
    let ping = frame(PING, [7; 125]).bytes();
    assert_eq!(run(0, [&ping[..]]), [Seen::Ping(vec![7; 125])]);
    assert_eq!(run(0, ping.chunks(3)), [Seen::Ping(vec![7; 125])]);
}

#[test]
fn control_frames_pass_between_fragments_and_the_message_goes_on() {
    let bytes = stream(&[
        fragment(TEXT, "in "),
        frame(PING, "a"),
        fragment(CONTINUATION, ""),
        frame(PONG, ""),
        frame(CONTINUATION, "pieces"),
    ]);
    let expected = [
        Seen::Ping(b"a".to_vec()),
        Seen::Pong(vec![]),
        Seen::Message(FrameKind::Text, b"in pieces".to_vec()),
    ];
    assert_eq!(run(LIMIT, [&bytes[..]]), expected);
    assert_eq!(run(LIMIT, bytes.chunks(1)), expected);
}

#[test]
fn empty_messages_and_fragments_are_messages() {
    let bytes = stream(&[
        frame(TEXT, ""),
        fragment(BINARY, ""),
        fragment(CONTINUATION, ""),
        frame(CONTINUATION, ""),
    ]);
    let expected =
        [Seen::Message(FrameKind::Text, vec![]), Seen::Message(FrameKind::Binary, vec![])];
    assert_eq!(run(LIMIT, [&bytes[..]]), expected);
    assert_eq!(run(LIMIT, bytes.chunks(1)), expected);
}

/// Text that cannot become UTF-8, up to the byte that decides it.
const NOT_UTF8: [&[u8]; 9] = [
    b"\x80",
    b"\xC0",
    b"\xFF",
    b"ok\xC3(",
    b"\xE0\x80",
    b"\xED\xA0",
    b"\xF4\x90",
    b"\xF0\x9F\xA6x",
    b"a long front that a check by blocks of sixty-four bytes would look at only once it is whole\xFE",
];

#[test]
fn text_fails_at_the_first_byte_that_cannot_be_utf8() {
    for text in NOT_UTF8 {
        let payload = [text, &[b'x'; 100]].concat();
        for first in [frame(TEXT, &payload[..]), fragment(TEXT, &payload[..])] {
            let bytes = first.bytes();
            let decisive = bytes.len() - 100;
            let mut decoder = with_limit(LIMIT);
            assert_eq!(feed(&mut decoder, &bytes[..decisive - 1]), Ok(vec![]), "{text:02x?}");
            let error = feed(&mut decoder, &bytes[decisive - 1..decisive]).unwrap_err();
            assert_eq!(error.close().code, CloseCode::INVALID_PAYLOAD, "{text:02x?}");
            assert_eq!(codes(&bytes), Some(CloseCode::INVALID_PAYLOAD), "{text:02x?}");
        }
        assert_eq!(codes(&frame(BINARY, payload).bytes()), None);
    }
}

#[test]
fn text_fails_across_fragments() {
    for text in NOT_UTF8 {
        let (front, last) = text.split_at(text.len() - 1);
        let mut decoder = with_limit(LIMIT);
        let open = stream(&[fragment(TEXT, front), frame(PING, "")]);
        assert_eq!(feed(&mut decoder, &open), Ok(vec![Seen::Ping(vec![])]));
        let error = feed(&mut decoder, &fragment(CONTINUATION, last).bytes()).unwrap_err();
        assert_eq!(error.close().code, CloseCode::INVALID_PAYLOAD, "{text:02x?}");
    }
}

#[test]
fn text_that_ends_inside_a_character_is_refused_at_its_end() {
    for text in [&b"\xC3"[..], b"abc\xE8\xAA", b"\xF0\x9F\xA6"] {
        let whole = frame(TEXT, text).bytes();
        let fragments = stream(&[fragment(TEXT, text), frame(CONTINUATION, "")]);
        for bytes in [whole, fragments] {
            assert_eq!(codes(&bytes), Some(CloseCode::INVALID_PAYLOAD));
            let byte_by_byte = run(LIMIT, bytes.chunks(1));
            assert_eq!(byte_by_byte, [Seen::Failed(CloseCode::INVALID_PAYLOAD)]);
            assert_eq!(codes(&bytes[..bytes.len() - 1]), None, "more could have followed");
        }
    }
}

#[test]
fn no_more_than_three_bytes_of_text_are_ever_looked_at_again() {
    let text = "aé語🦀".repeat(500);
    let mut decoder = with_limit(LIMIT);
    let bytes = stream(&[fragment(TEXT, text.as_str()), frame(CONTINUATION, text.as_str())]);
    for byte in bytes.chunks(1) {
        feed(&mut decoder, byte).expect("valid text");
        assert!(footprint(&decoder).1 <= 3);
    }
    assert!(decoder.is_idle());
}

#[test]
fn reads_that_all_end_inside_a_character_are_checked_as_they_come() {
    let bytes = fragment(TEXT, "é".repeat(1_000)).bytes();
    // The header is 8 bytes long.
    let (head, tail) = bytes.split_at(8 + 1);
    let mut decoder = with_limit(LIMIT);
    assert_eq!(feed(&mut decoder, head), Ok(vec![]));
    for read in tail.chunks(200) {
        assert_eq!(footprint(&decoder).1, 1);
        assert_eq!(feed(&mut decoder, read), Ok(vec![]));
    }
}

#[test]
fn a_whole_frame_is_lent_out_of_the_input() {
    for frame in [frame(TEXT, [b'x'; 128]), frame(BINARY, [0; 70_000])] {
        let mut bytes = frame.bytes();
        let range = bytes.as_ptr_range();
        let mut decoder = with_limit(LIMIT);
        let mut input = &mut bytes[..];
        let taken = decoder.decode(&mut input, |event| {
            let Event::Message { payload, .. } = event else { panic!("{event:?}") };
            assert_eq!(payload, frame.payload);
            assert!(range.contains(&payload.as_ptr()));
        });
        assert_eq!(taken, Ok(Some(())));
        assert!(decoder.is_idle());
    }
}

#[test]
fn a_declared_length_reserves_nothing() {
    for fin in [false, true] {
        let bytes = Frame { fin, ..frame(BINARY, vec![1; 60 << 10]) }.bytes();
        let mut decoder = with_limit(LIMIT);
        assert_eq!(feed(&mut decoder, &bytes[..8]), Ok(vec![]));
        assert_eq!(footprint(&decoder).0, 0);
        assert_eq!(feed(&mut decoder, &bytes[8..18]), Ok(vec![]));
        assert_eq!(footprint(&decoder).0, 10);
        for byte in bytes[18..1_000].chunks(1) {
            assert_eq!(feed(&mut decoder, byte), Ok(vec![]));
        }
        assert!(footprint(&decoder).0 < 2 * 1_000);
    }
}

#[test]
fn capacity_of_a_buffer_never_exceeds_the_declared_or_allowed_length() {
    let last = frame(BINARY, vec![1; 1_000]).bytes();
    let open = fragment(BINARY, vec![1; 1_000]).bytes();
    let two = stream(&[fragment(BINARY, vec![1; 100]), frame(CONTINUATION, vec![1; 900])]);
    for (bytes, limit, capacity) in
        [(last, LIMIT, 1_000), (open, 1_001, 1_001), (two, LIMIT, 1_000)]
    {
        for length in [1, 7, 300] {
            let mut decoder = with_limit(limit);
            for piece in bytes[..bytes.len() - 1].chunks(length) {
                assert_eq!(feed(&mut decoder, piece), Ok(vec![]));
                assert!(footprint(&decoder).0 <= capacity);
            }
        }
    }
}

#[test]
fn a_buffer_that_fills_by_bytes_grows_in_doublings() {
    let one = fragment(CONTINUATION, "x").bytes();
    let mut decoder = with_limit(LIMIT);
    feed(&mut decoder, &fragment(TEXT, "x").bytes()).expect("a fragment in order");
    let mut capacities = vec![footprint(&decoder).0];
    for _ in 1..10_000 {
        feed(&mut decoder, &one).expect("a fragment in order");
        capacities.push(footprint(&decoder).0);
    }
    capacities.dedup();
    assert!(capacities.len() <= 15, "{capacities:?}");
}

#[test]
fn a_control_payload_is_freed_while_a_message_is_open() {
    let mut decoder = with_limit(LIMIT);
    let bytes = stream(&[fragment(BINARY, "open"), frame(PING, "payload")]);
    assert_eq!(feed(&mut decoder, &bytes[..bytes.len() - 1]), Ok(vec![]));
    let seen = feed(&mut decoder, &bytes[bytes.len() - 1..]);
    assert_eq!(seen, Ok(vec![Seen::Ping(b"payload".to_vec())]));
    assert!(decoder.delivered().is_empty());
}

#[test]
fn empty_fragments_take_no_memory() {
    let mut decoder = with_limit(LIMIT);
    let opening = fragment(BINARY, "").bytes();
    let empty = fragment(CONTINUATION, "").bytes();
    assert_eq!(feed(&mut decoder, &opening), Ok(vec![]));
    for _ in 0..10_000 {
        assert_eq!(feed(&mut decoder, &empty), Ok(vec![]));
    }
    assert_eq!(footprint(&decoder).0, 0);
}

#[test]
fn a_decoder_is_idle_only_between_messages() {
    let bytes = stream(&[fragment(TEXT, "one "), frame(PING, "p"), frame(CONTINUATION, "two")]);
    let mut decoder = with_limit(LIMIT);
    for round in 0..2 {
        for byte in bytes[..bytes.len() - 1].chunks(1) {
            feed(&mut decoder, byte).expect("frames in order");
            assert!(!decoder.is_idle(), "round {round}");
        }
        let seen = feed(&mut decoder, &bytes[bytes.len() - 1..]);
        assert_eq!(seen, Ok(vec![Seen::Message(FrameKind::Text, b"one two".to_vec())]));
        assert!(decoder.is_idle(), "round {round}");
    }
    for opcode in [PING, PONG] {
        let bytes = frame(opcode, "in two").bytes();
        feed(&mut decoder, &bytes[..9]).expect("frames in order");
        assert!(!decoder.is_idle());
        feed(&mut decoder, &bytes[9..]).expect("frames in order");
        assert!(decoder.is_idle());
    }
}

#[test]
fn an_empty_read_takes_nothing() {
    let mut decoder = with_limit(LIMIT);
    assert_eq!(feed(&mut decoder, &[]), Ok(vec![]));
    assert!(decoder.is_idle());
}

#[test]
fn an_error_becomes_a_close_frame_with_its_reason() {
    let error = refusal(LIMIT, &[0x81, 0x00]).expect("not masked");
    assert_eq!(error.close(), Close::new(CloseCode::PROTOCOL, "frame is not masked"));
    assert_eq!(error.to_string(), "frame is not masked (close code 1002)");
}

#[test]
fn a_refusal_reads_the_same_however_the_bytes_are_split() {
    for text in [&b"\xC3"[..], b"a\xFF", b"\xE2\x82"] {
        let bytes = frame(TEXT, text).bytes();
        let whole = refusal(LIMIT, &bytes).expect("not UTF-8");
        for split in 1..bytes.len() {
            let mut decoder = with_limit(LIMIT);
            let first = feed(&mut decoder, &bytes[..split]);
            let error = first.and_then(|_| feed(&mut decoder, &bytes[split..]));
            assert_eq!(error, Err(whole), "{text:?} split at {split}");
        }
    }
}
