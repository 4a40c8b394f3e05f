//! The reader of the plain channel, where other programs publish, accepts the same payloads as serde_json, with the
//! same rooms and the same text of the message. It also bounds depth and numbers.
//!
//! ```text
//! input = a payload
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::internals::{To, plain};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

const NAME_BYTES_MAX: usize = 16;
const ROOMS_MAX: usize = 256;

/// The deepest nesting of a payload that is accepted.
const DEPTH_MAX: usize = 65;

fuzz_target!(|payload: &[u8]| {
    match (plain(payload, NAME_BYTES_MAX), theirs(payload)) {
        (Some((target, message)), Some((expected, text))) => {
            assert_eq!(target, expected);
            assert_eq!(str::from_utf8(message).expect("JSON is UTF-8"), text);
        }
        (None, None) => {}
        (None, Some(_)) => {
            let text = str::from_utf8(payload).expect("serde_json has read it");
            assert!(is_beyond_ours(text), "refused: {text}");
        }
        (Some(read), None) => {
            panic!("read: {read:?} of {}", String::from_utf8_lossy(payload));
        }
    }
});

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload<'a> {
    #[serde(borrow)]
    message: &'a RawValue,
    #[serde(default, deserialize_with = "present")]
    room: Option<String>,
    #[serde(default, deserialize_with = "present")]
    rooms: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    everyone: Option<bool>,
}

/// Reads a field that must not be null if it is present.
fn present<'de, D: serde::Deserializer<'de>, V: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<V>, D::Error> {
    V::deserialize(deserializer).map(Some)
}

fn theirs(payload: &[u8]) -> Option<(To<'static>, &str)> {
    // Serde also reads an array of four as a struct; our reader accepts objects only.
    let is_object = payload.trim_ascii_start().starts_with(b"{");
    let read: Payload<'_> = serde_json::from_slice(payload).ok().filter(|_| is_object)?;
    // serde_json does not check the content of a raw value.
    serde_json::from_str::<IgnoredAny>(read.message.get()).ok()?;
    let target = match (read.room, read.rooms, read.everyone) {
        (Some(room), None, None) => To::Room(room.into()),
        (None, Some(rooms), None) if (1..=ROOMS_MAX).contains(&rooms.len()) => {
            To::Rooms(rooms.into_iter().map(Into::into).collect())
        }
        (None, None, Some(true)) => To::Everyone,
        _ => return None,
    };
    let are_short = target.names().iter().all(|name| name.len() <= NAME_BYTES_MAX);
    are_short.then_some((target, read.message.get()))
}

/// Whether simd-json refuses a text that serde_json accepts: too deep, an integer of more than 64 bits, a number too
/// large for a float, or (in values that nobody reads) an escape of half a surrogate pair.
fn is_beyond_ours(text: &str) -> bool {
    let (mut depth, mut deepest, mut is_string, mut is_escaped) = (0_usize, 0, false, false);
    let mut outside = String::new();
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            _ if is_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
        let is_of_number = !is_string && b"+-.eE0123456789".contains(&byte);
        outside.push(if is_of_number { byte.into() } else { ' ' });
    }
    let is_extreme = |number: &str| {
        let digits = number.strip_prefix('-').unwrap_or(number);
        let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit());
        let is_large =
            is_integer && number.parse::<u64>().is_err() && number.parse::<i64>().is_err();
        is_large || number.parse::<f64>().is_ok_and(f64::is_infinite)
    };
    let is_half = text.to_ascii_lowercase().contains("\\ud");
    deepest > DEPTH_MAX || is_half || outside.split_ascii_whitespace().any(is_extreme)
}
