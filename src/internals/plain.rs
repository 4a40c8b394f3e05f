//! Payloads of other programs on the plain channel.

use crate::backplane::To;
use crate::backplane::plain::parse;

/// Parses a payload: the target of the message, and its text. `None` if the payload is refused.
pub fn plain(payload: &[u8], room_name_bytes_max: usize) -> Option<(To<'static>, &[u8])> {
    let read = parse(payload, room_name_bytes_max).ok()?;
    Some((read.target, read.message))
}
