//! What models see of the core's private parts, in the builds of a model checker alone.

use std::sync::Arc;

use super::close::DisconnectReason;
use super::link::{End, Link, Stage};
use super::room::Room;
use super::room_index::RoomIndex;

/// Gives a claim back, as the shard does; `true` if the room went with it.
pub fn unclaim(index: &RoomIndex, room: &Arc<Room>) -> bool {
    index.unclaim(room)
}

/// Ends a connection, as its shard does.
pub fn finish(link: &Link, reason: DisconnectReason, rooms: Vec<Arc<Room>>) {
    link.finish(End { reason, rooms });
}

/// Moves the stage forward, as the shard does.
pub fn advance(link: &Link, stage: Stage) {
    link.advance(stage);
}

/// Has bytes more wait for the client, if there is space, as a sender that waits does.
pub fn reserve_waiting(link: &Link, bytes: usize, bytes_max: usize) -> bool {
    link.reserve_waiting(bytes, Some(bytes_max))
}

/// Bytes have left for the client, or are lost, as the shard says.
pub fn remove_waiting(link: &Link, bytes: usize) {
    link.remove_waiting(bytes);
}
