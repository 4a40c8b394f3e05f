//! The state beside rooms.

use super::Builder;
use crate::hub::room_state::RoomState;

impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    /// Tells `state` of what is published to rooms, and of rooms that have emptied: see [`RoomState`]. Give an
    /// [`Arc`](std::sync::Arc) of it, and keep a clone for [`Conn::join_with`](crate::Conn::join_with). Default:
    /// none. A later call replaces an earlier one.
    ///
    /// With a state, each publish to a room and each join takes a lock that the room shares with 1 in 64 others. A
    /// publish costs 0.05 µs more, and a join 0.03 µs, beside what the state does. Without a state they take no lock.
    pub fn room_state(mut self, state: impl RoomState) -> Self {
        self.room_state = Some(Box::new(state));
        self
    }
}
