//! What other programs publish.

use crate::backplane::To;
use crate::backplane::plain::parse;

/// Reads a payload: whom the message is for, and its text. `None` where it is refused.
pub fn plain(payload: &[u8], room_name_bytes_max: usize) -> Option<(To<'static>, &[u8])> {
    let read = parse(payload, room_name_bytes_max).ok()?;
    Some((read.target, read.message))
}
