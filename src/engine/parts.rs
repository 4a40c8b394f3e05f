//! Private parts of the core for models, only in builds for a model checker.

use std::sync::Arc;

use super::close::DisconnectReason;
use super::link::{End, Link, Stage};
use super::room::Room;
use super::room_index::RoomIndex;

/// Takes a claim back, as the shard does; `true` if the room is gone with it.
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

/// Adds bytes that wait for the client, if there is space, as a sender that waits does.
pub fn reserve_waiting(link: &Link, bytes: usize, bytes_max: usize) -> bool {
    link.reserve_waiting(bytes, Some(bytes_max))
}

/// Removes bytes that have left for the client or are lost, as the shard does.
pub fn remove_waiting(link: &Link, bytes: usize) {
    link.remove_waiting(bytes);
}
