//! The `Json` codec accepts the same texts as serde_json, with the same values, for several types. Both read what the
//! codec writes.
//!
//! ```text
//! input = 0 · a text | 1 · the data of a value
//! ```
#![no_main]

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use roomcast::{FrameKind, Json};
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The deepest nesting of arrays and objects that our codec accepts.
const DEPTH_MAX: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some((&mode, rest)) = input.split_first() else { return };
    if mode % 2 == 0 {
        // The frame decoder only passes on valid UTF-8.
        let text = match str::from_utf8(rest) {
            Ok(text) => text,
            Err(error) => str::from_utf8(&rest[..error.valid_up_to()])
                .expect("the text is valid up to the error"),
        };
        check_text(text);
    } else if let Ok(made_up) = Unstructured::new(rest).arbitrary::<MadeUp>() {
        check_value(&made_up.any);
        check_value(&made_up.record);
        check_value(&made_up.events);
        check_value(&made_up.counts);
    }
});

fn check_text(text: &str) {
    check_read::<Any>(text);
    check_read::<Record>(text);
    check_read::<Vec<Event>>(text);
    check_read::<BTreeMap<u32, Shape>>(text);
    check_read::<(i64, u64, f64, String)>(text);
    check_read::<Vec<Option<String>>>(text);
}

fn check_read<T: Serialize + DeserializeOwned + Debug + PartialEq>(text: &str) {
    let (ours, theirs) = (decode::<T>(text), serde_json::from_str::<T>(&as_we_mean(text)));
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours, theirs, "of {text}");
            check_value(&ours);
        }
        (Err(_), Err(_)) => {}
        (ours, theirs) => {
            let accepts = ours.is_ok();
            assert!(is_allowed(accepts, text), "ours {ours:?}\ntheirs {theirs:?}\nof {text}");
        }
    }
}

/// The accepted differences between the codecs.
fn is_allowed(ours_accepts: bool, text: &str) -> bool {
    // Ours stops at 64, serde_json at 127: a recursive type must not overflow the stack of a thread.
    let is_deep = depth(text) > DEPTH_MAX;
    // Our codec refuses an integer of more than 64 bits; serde_json reads it as a float.
    // Our codec refuses a number too large for a float, even in unknown fields, which nobody reads.
    let is_beyond = |number: &str| number.parse::<f64>().is_ok_and(f64::is_infinite);
    let numbers = numbers(text);
    let is_extreme = numbers.iter().any(|number| is_large_integer(number) || is_beyond(number));
    // Our codec refuses half of a surrogate pair everywhere; serde_json only in fields that are read.
    let is_broken = serde_json::from_str::<serde_json::Value>(text).is_err();
    !ours_accepts && (is_deep || is_extreme || is_broken)
}

fn is_large_integer(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_integer && number.parse::<u64>().is_err() && number.parse::<i64>().is_err()
}

/// The parts of the text that look like numbers.
fn numbers(text: &str) -> Vec<String> {
    let outside: String = outside_of_strings(text)
        .map(|(_, byte)| if is_of_number(byte) { byte.into() } else { ' ' })
        .collect();
    outside.split_ascii_whitespace().map(str::to_owned).collect()
}

fn is_of_number(byte: u8) -> bool {
    b"+-.eE0123456789".contains(&byte)
}

/// Replaces each integer `-0` by `0`: our codec reads `-0` as the integer zero, serde_json as a float.
fn as_we_mean(text: &str) -> String {
    let mut meant = text.to_owned();
    for (at, byte) in outside_of_strings(text).rev() {
        let (before, after) = (&text.as_bytes()[..at], &text.as_bytes()[at + 1..]);
        let begins = byte == b'-' && !before.last().is_some_and(|byte| is_of_number(*byte));
        let is_integer = !after.get(1).is_some_and(|byte| is_of_number(*byte));
        if begins && after.first() == Some(&b'0') && is_integer {
            meant.remove(at);
        }
    }
    meant
}

/// The depth of nested brackets.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for (_, byte) in outside_of_strings(text) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn outside_of_strings(text: &str) -> impl DoubleEndedIterator<Item = (usize, u8)> {
    let (mut is_string, mut is_escaped) = (false, false);
    let mut outside = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            _ if !is_string => outside.push((at, byte)),
            _ => {}
        }
    }
    outside.into_iter()
}

fn check_value<T: Serialize + DeserializeOwned + Debug + PartialEq>(value: &T) {
    let mut text = Vec::new();
    Json::new().encode(value, &mut text).expect("the value has a form in JSON");
    let text = String::from_utf8(text).expect("JSON is UTF-8");
    if depth(&text) > DEPTH_MAX {
        return assert!(decode::<T>(&text).is_err(), "text that nests too deep is refused: {text}");
    }
    assert_eq!(&serde_json::from_str::<T>(&text).expect("serde_json reads"), value, "{text}");
    assert_eq!(&decode::<T>(&text).expect("we read"), value, "{text}");
}

fn decode<T: Serialize + DeserializeOwned>(text: &str) -> Result<T, roomcast::DecodeError> {
    Json::new().decode(FrameKind::Text, &mut text.as_bytes().to_vec())
}

#[derive(Debug, Arbitrary)]
struct MadeUp {
    any: Any,
    record: Record,
    events: Vec<Event>,
    counts: BTreeMap<u32, Shape>,
}

/// Any JSON.
#[derive(Debug, PartialEq, Arbitrary)]
enum Any {
    Null,
    Bool(bool),
    /// Below zero.
    Negative(#[arbitrary(with = negative)] i64),
    Natural(u64),
    Float(Float),
    Text(String),
    Array(Vec<Any>),
    Object(BTreeMap<String, Any>),
}

fn negative(input: &mut Unstructured<'_>) -> arbitrary::Result<i64> {
    input.int_in_range(i64::MIN..=-1)
}

/// A finite number, equal bit by bit.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
struct Float(f64);

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl<'a> Arbitrary<'a> for Float {
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let float = f64::arbitrary(input)?;
        Ok(Self(if float.is_finite() { float } else { 0.5 }))
    }
}

/// A record as applications send: plain fields, optional fields, and a default.
#[derive(Debug, PartialEq, Serialize, Deserialize, Arbitrary)]
struct Record {
    id: u64,
    name: String,
    note: Option<String>,
    #[serde(default)]
    small: i8,
    ratio: Option<Float>,
    #[serde(rename = "letter é")]
    letter: Option<char>,
    shapes: Option<Vec<Shape>>,
    inner: Option<Box<Record>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Arbitrary)]
enum Shape {
    Point,
    Circle(u16),
    Line(i32, i32),
    Box { width: u8, height: Option<u8> },
}

/// Messages with a common form of tag.
#[derive(Debug, PartialEq, Serialize, Deserialize, Arbitrary)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    Joined { room: String, members: u32 },
    Said { text: String, at: i64 },
    Left,
}

impl Serialize for Any {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(is) => serializer.serialize_bool(*is),
            Self::Negative(number) => serializer.serialize_i64(*number),
            Self::Natural(number) => serializer.serialize_u64(*number),
            Self::Float(Float(number)) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Array(items) => items.serialize(serializer),
            Self::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any::Null)
    }

    fn visit_bool<E>(self, is: bool) -> Result<Any, E> {
        Ok(Any::Bool(is))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Any, E> {
        Ok(u64::try_from(number).map_or(Any::Negative(number), Any::Natural))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Any, E> {
        Ok(Any::Natural(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Any, E> {
        Ok(Any::Float(Float(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Any, E> {
        Ok(Any::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Any, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Any::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Any, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((name, value)) = fields.next_entry()? {
            object.insert(name, value);
        }
        Ok(Any::Object(object))
    }
}
