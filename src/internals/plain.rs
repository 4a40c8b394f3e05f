//! What other programs publish.

use super::CarriedTarget;
use crate::backplane::plain::{PlainTarget, parse};

/// Reads a payload: whom the message is for, and its text. `None` where it is refused.
pub fn plain(payload: &[u8], room_name_bytes_max: usize) -> Option<(CarriedTarget, &[u8])> {
    let read = parse(payload, room_name_bytes_max).ok()?;
    let target = match read.target {
        PlainTarget::Room(room) => CarriedTarget::Room(room),
        PlainTarget::Rooms(rooms) => CarriedTarget::Rooms(rooms),
        PlainTarget::Everyone => CarriedTarget::Everyone,
    };
    Some((target, read.message))
}
