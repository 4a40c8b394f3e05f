//! Which payloads the parser accepts, and why it rejects the others.

use super::{PlainError, parse};
use crate::backplane::target::To;

const NAME_BYTES_MAX: usize = 5;

fn read(payload: impl AsRef<[u8]>) -> Result<(To<'static>, String), PlainError> {
    let read = parse(payload.as_ref(), NAME_BYTES_MAX)?;
    let message = str::from_utf8(read.message).expect("JSON is UTF-8");
    Ok((read.target, message.to_owned()))
}

fn room(name: &str) -> To<'_> {
    To::Room(name.into())
}

fn rooms<'a>(names: &[&'a str]) -> To<'a> {
    To::Rooms(names.iter().copied().map(Into::into).collect())
}

#[test]
fn each_target_is_read() {
    for (payload, target) in [
        (r#"{"message":1,"room":"tea"}"#, room("tea")),
        (r#"{"room":"","message":1}"#, room("")),
        (r#"{"rooms":["tea","news"],"message":1}"#, rooms(&["tea", "news"])),
        (r#"{"message":1,"rooms":["tea"]}"#, rooms(&["tea"])),
        (r#"{"everyone":true,"message":1}"#, To::Everyone),
        ("\r\n\t {\n\"message\" :\t1 , \"room\"\r: \"t\\u00e9\" } \n", room("té")),
    ] {
        assert_eq!(read(payload), Ok((target, "1".to_owned())), "{payload}");
    }
}

#[test]
fn a_message_is_any_json_as_it_was_written() {
    for message in [
        "null",
        "-0.10e+2",
        "9007199254740993",
        r#""""#,
        r#""\"}\\""#,
        r#""{[,:]}""#,
        "[]",
        "[ 1 ,\t[2,{}]]",
        r#"{"z":1,"a":{"room":"x","message":2},"z":3}"#,
        r#"{"\"":"\\\"","b\\":[{"c":"}"}]}"#,
        "\"\u{1F980} \\ud83e\\udd80 \\u0000\"",
    ] {
        for payload in [
            format!(r#"{{"message":{message},"room":"r"}}"#),
            format!(r#"{{ "room" : "r" , "message" : {message} }}"#),
            format!(r#"{{"room":"r","m\u0065ssage":{message}}}"#),
        ] {
            assert_eq!(read(&payload), Ok((room("r"), message.to_owned())), "{payload}");
        }
    }
}

#[test]
fn payloads_that_are_not_json_objects_are_rejected() {
    let whole = r#"{"message":{"text":"é"},"rooms":["a","b"]}"#;
    let cuts = (0..whole.len()).map(|length| whole.as_bytes()[..length].to_vec());
    let others = [
        "null",
        "1",
        "\"text\"",
        "[]",
        r#"[{"message":1,"room":"r"}]"#,
        "{]",
        "{,}",
        "{\"message\"}",
        r#"{"message":1,"room":"r",}"#,
        r#"{"message":1 "room":"r"}"#,
        r#"{"message":01,"room":"r"}"#,
        r#"{"message":"a"#,
        r#"{"message":1,"room":"r"}}"#,
        r#"{"message":1,"room":"r"} x"#,
        r#"{"message":1,"room":"r"}{}"#,
        "{'message':1,'room':'r'}",
        r#"{"message":nul,"room":"r"}"#,
        "{\"message\":\"\n\",\"room\":\"r\"}",
        r#"{"message":"\ud800","room":"r"}"#,
        r#"{"message":1e999,"room":"r"}"#,
        r#"{message:1,"room":"r"}"#,
        r#"{"message":1,/**/"room":"r"}"#,
        "\u{FEFF}{\"message\":1,\"room\":\"r\"}",
        "{\"message\":1,\"room\":\"r\"}\0",
    ]
    .map(|text| text.as_bytes().to_vec());
    for payload in cuts.chain(others) {
        let text = String::from_utf8_lossy(&payload).into_owned();
        assert_eq!(read(payload), Err(PlainError::NotAnObject), "{text}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_rejected_wherever_they_are() {
    for bad in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3"] {
        for (before, after) in [
            (&b"{\"message\":\""[..], &b"\",\"room\":\"r\"}"[..]),
            (b"{\"message\":1,\"room\":\"", b"\"}"),
            (b"{\"message\":1,\"room\":\"r\",\"", b"\":1}"),
            (b"", b"{\"message\":1,\"room\":\"r\"}"),
        ] {
            let payload = [before, bad, after].concat();
            assert_eq!(read(&payload), Err(PlainError::NotAnObject), "{payload:?}");
        }
    }
}

#[test]
fn fields_that_are_unknown_repeated_or_missing_are_rejected() {
    use PlainError::*;
    for (payload, error) in [
        ("{}", NoMessage),
        (r#"{"room":"r"}"#, NoMessage),
        (r#"{"everyone":true}"#, NoMessage),
        (r#"{"message":1}"#, NoTarget),
        (r#"{"message":1,"room":"r","rom":"r"}"#, UnknownField),
        (r#"{"Message":1,"room":"r"}"#, UnknownField),
        (r#"{"message":1,"room":"r","except":[]}"#, UnknownField),
        (r#"{"message":1,"conn":"r"}"#, UnknownField),
        (r#"{"message":1,"":"r"}"#, UnknownField),
        (r#"{"message":1,"room":"r","message":1}"#, RepeatedField),
        (r#"{"message":1,"room":"r","room":"r"}"#, RepeatedField),
        (r#"{"message":1,"room":"r","\u0072oom":"s"}"#, RepeatedField),
        (r#"{"message":1,"rooms":["r"],"rooms":["r"]}"#, RepeatedField),
        (r#"{"message":1,"everyone":true,"everyone":true}"#, RepeatedField),
        (r#"{"message":1,"room":"r","rooms":["r"]}"#, SeveralTargets),
        (r#"{"message":1,"room":"r","everyone":true}"#, SeveralTargets),
        (r#"{"message":1,"everyone":true,"rooms":["r"],"room":"r"}"#, SeveralTargets),
    ] {
        assert_eq!(read(payload), Err(error), "{payload}");
    }
}

#[test]
fn targets_of_another_type_are_rejected() {
    for target in [
        r#""room":null"#,
        r#""room":1"#,
        r#""room":["r"]"#,
        r#""room":{"r":1}"#,
        r#""rooms":null"#,
        r#""rooms":"r""#,
        r#""rooms":[1]"#,
        r#""rooms":["r",null]"#,
        r#""rooms":[["r"]]"#,
        r#""rooms":{"r":"s"}"#,
        r#""everyone":false"#,
        r#""everyone":null"#,
        r#""everyone":1"#,
        r#""everyone":"true""#,
    ] {
        for payload in
            [format!(r#"{{"message":1,{target}}}"#), format!(r#"{{{target},"message":1}}"#)]
        {
            assert_eq!(read(&payload), Err(PlainError::NotATarget), "{payload}");
        }
    }
}

#[test]
fn names_and_numbers_of_rooms_are_bounded() {
    let to = |target: &str| read(format!(r#"{{"message":1,{target}}}"#)).map(|(target, _)| target);
    assert_eq!(to(r#""room":"12345""#), Ok(room("12345")));
    assert_eq!(to(r#""room":"123456""#), Err(PlainError::RoomName));
    assert_eq!(to(r#""room":"1234é""#), Err(PlainError::RoomName), "bytes count, not characters");
    assert_eq!(to(r#""rooms":["a","123456"]"#), Err(PlainError::RoomName));
    let list = |count: usize| format!(r#""rooms":[{}]"#, vec![r#""r""#; count].join(","));
    assert_eq!(to(&list(0)), Err(PlainError::NumberOfRooms));
    assert_eq!(to(&list(256)), Ok(rooms(&["r"; 256])));
    assert_eq!(to(&list(257)), Err(PlainError::NumberOfRooms));
    assert_eq!(to(&list(100_000)), Err(PlainError::NumberOfRooms));
}

#[test]
fn depth_is_bounded_in_every_field() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let payload = |depth| format!(r#"{{"room":"r","message":{}}}"#, nested(depth));
    assert_eq!(read(payload(64)), Ok((room("r"), nested(64))));
    for depth in [65, 1_000, 100_000] {
        assert_eq!(read(payload(depth)), Err(PlainError::NotAnObject));
        for open in ["[", "{\"a\":", "{\"message\":[", "{\"room\":", "{\"x\":{"] {
            assert_eq!(read(open.repeat(depth)), Err(PlainError::NotAnObject), "{open}");
        }
    }
}

#[test]
fn large_payloads_are_read() {
    let text = format!("\"{}\"", "é\\\\\\\"".repeat(100_000));
    let payload = format!(r#"{{"message":{text},"everyone":true}}"#);
    assert_eq!(read(payload), Ok((To::Everyone, text)));
    let fields = r#""message":1,"#.repeat(100_000);
    assert_eq!(read(format!(r#"{{{fields}"room":"r"}}"#)), Err(PlainError::RepeatedField));
}
