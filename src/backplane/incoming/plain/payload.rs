//! The parser for payloads of other programs: `{"message": …, "room": "tea"}`.
//!
//! simd-json validates the payload and reads the target. It does not say where in the text the
//! message is. So the text is scanned once more, which is simple because it is known to be valid
//! JSON.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use simd_json::Buffers;

use super::PlainError;
use crate::backplane::target::To;

/// The deepest nesting of a payload: its object, and a message as deep as the codec `Json` accepts
/// by default. The parser recurses, and its own limit of 1,024 levels could overflow the stack of a
/// worker thread.
const DEPTH_MAX: usize = 1 + 64;

/// The most rooms that a message may name. Each room is looked up in every shard.
const ROOMS_MAX: usize = 256;

/// A message and its target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlainMessage<'a> {
    /// Never a single connection.
    pub(crate) target: To<'static>,
    /// The JSON text of the message, byte for byte.
    pub(crate) message: &'a [u8],
}

/// Parses a payload without its signature.
///
/// # Errors
/// The reason why the payload is dropped. If there are several reasons, the first one that the
/// parser meets.
pub(crate) fn parse(
    payload: &[u8],
    room_name_bytes_max: usize,
) -> Result<PlainMessage<'_>, PlainError> {
    let (target, place) = fields(payload)?;
    if !target.names().iter().all(|name| name.len() <= room_name_bytes_max) {
        return Err(PlainError::RoomName);
    }
    let message = value_of_field(payload, place).ok_or(PlainError::NotAnObject)?;
    Ok(PlainMessage { target, message })
}

/// Returns the target, and the position of the field `message` in the object, counted from zero.
fn fields(payload: &[u8]) -> Result<(To<'static>, usize), PlainError> {
    // The parser works in place, but the message is needed unchanged.
    let mut scratch = payload.to_vec();
    let mut buffers = Buffers::with_max_depth(scratch.len(), DEPTH_MAX);
    let parsed = simd_json::Deserializer::from_slice_with_buffers(&mut scratch, &mut buffers);
    // The parser validates the whole text before it reads the first field.
    let mut fault = None;
    let fields = parsed.and_then(|mut object| object.deserialize_map(FieldsVisitor(&mut fault)));
    fields.map_err(|_| fault.unwrap_or(PlainError::NotAnObject))?.complete()
}

/// The fields that were read so far.
#[derive(Default)]
struct Fields {
    room: Option<Cow<'static, str>>,
    rooms: Option<Vec<Cow<'static, str>>>,
    everyone: Option<()>,
    /// The position of the field.
    message: Option<usize>,
}

impl Fields {
    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        place: usize,
        name: &str,
        object: &mut A,
    ) -> Result<(), PlainError> {
        match name {
            "message" => set(&mut self.message, skip(object).map(|()| place)),
            "room" => set(&mut self.room, value(object)),
            "rooms" => set(&mut self.rooms, value::<_, RoomList>(object).and_then(|rooms| rooms.0)),
            "everyone" => set(&mut self.everyone, value(object).and_then(only_true)),
            _ => Err(PlainError::UnknownField),
        }
    }

    fn complete(self) -> Result<(To<'static>, usize), PlainError> {
        let message = self.message.ok_or(PlainError::NoMessage)?;
        let target = match (self.room, self.rooms, self.everyone) {
            (Some(room), None, None) => To::Room(room),
            (None, Some(rooms), None) => To::Rooms(rooms),
            (None, None, Some(())) => To::Everyone,
            (None, None, None) => return Err(PlainError::NoTarget),
            _ => return Err(PlainError::SeveralTargets),
        };
        Ok((target, message))
    }
}

fn set<V>(field: &mut Option<V>, value: Result<V, PlainError>) -> Result<(), PlainError> {
    match field.replace(value?) {
        None => Ok(()),
        Some(_) => Err(PlainError::RepeatedField),
    }
}

fn value<'de, A: MapAccess<'de>, V: Deserialize<'de>>(object: &mut A) -> Result<V, PlainError> {
    object.next_value().map_err(|_| PlainError::NotATarget)
}

fn skip<'de, A: MapAccess<'de>>(object: &mut A) -> Result<(), PlainError> {
    object.next_value::<IgnoredAny>().map(drop).map_err(|_| PlainError::NotAnObject)
}

fn only_true(everyone: bool) -> Result<(), PlainError> {
    if everyone { Ok(()) } else { Err(PlainError::NotATarget) }
}

/// Reads the object. The reason for a rejection is stored in the reference, because the parser only
/// returns errors of its own type.
struct FieldsVisitor<'a>(&'a mut Option<PlainError>);

impl<'de> Visitor<'de> for FieldsVisitor<'_> {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        for place in 0.. {
            let Some(name) = object.next_key::<&str>()? else { break };
            if let Err(error) = fields.read(place, name, &mut object) {
                *self.0 = Some(error);
                return Err(A::Error::custom(error));
            }
        }
        Ok(fields)
    }
}

/// The list of rooms, or an error if it is empty or too long.
struct RoomList(Result<Vec<Cow<'static, str>>, PlainError>);

impl<'de> Deserialize<'de> for RoomList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RoomListVisitor)
    }
}

struct RoomListVisitor;

impl<'de> Visitor<'de> for RoomListVisitor {
    type Value = RoomList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RoomList, A::Error> {
        let mut rooms = Vec::new();
        while let Some(room) = list.next_element()? {
            if rooms.len() == ROOMS_MAX {
                // The parser requires that the list is read to its end.
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(RoomList(Err(PlainError::NumberOfRooms)));
            }
            rooms.push(room);
        }
        Ok(RoomList(if rooms.is_empty() { Err(PlainError::NumberOfRooms) } else { Ok(rooms) }))
    }
}

/// Finds the text of a field's value, by the position of the field. The object must be valid JSON;
/// otherwise the result is some part of it, or `None`.
fn value_of_field(object: &[u8], place: usize) -> Option<&[u8]> {
    let (mut depth, mut fields_before, mut start) = (0_usize, 0, None);
    let (mut is_in_string, mut is_escaped) = (false, false);
    for (at, &byte) in object.iter().enumerate() {
        if is_in_string {
            is_in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => is_in_string = true,
            b':' if depth == 1 && fields_before == place => start = Some(at + 1),
            b',' | b'}' if depth == 1 => {
                if let Some(start) = start {
                    return Some(object[start..at].trim_ascii());
                }
                fields_before += 1;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}
