//! The connections of an audience.

use std::sync::Arc;

use super::compressing::StreamId;
use super::conn_slot::ConnSlot;
use super::table::{Members, Table};
use crate::engine::command::{Audience, Delivery};
use crate::engine::room::Room;

/// The number of connections in an audience. A connection in two rooms of a union counts twice.
pub(super) fn size<S>(audience: &Audience, table: &Table<S>) -> usize {
    let members = |room: &Arc<Room>| table.members(room).map_or(0, Members::len);
    match audience {
        Audience::Everyone => table.everyone().len(),
        Audience::Room(room) => members(room),
        Audience::Rooms(rooms) => rooms.iter().map(members).sum(),
        Audience::Conn(_) => 1,
    }
}

/// The number of clients in an audience that can inflate. A client in two rooms of a union counts
/// twice.
pub(super) fn inflating<S>(audience: &Audience, table: &Table<S>) -> usize {
    let members = |room: &Arc<Room>| table.members(room).map_or(0, Members::inflating);
    match audience {
        Audience::Everyone => table.inflating(),
        Audience::Room(room) => members(room),
        Audience::Rooms(rooms) => rooms.iter().map(members).sum(),
        Audience::Conn(_) => 1,
    }
}

/// The place of the stream of compressed bursts to an audience. Only a room and everyone have one.
pub(super) fn stream<'t, S>(
    audience: &Audience,
    table: &'t mut Table<S>,
) -> Option<&'t mut Option<StreamId>> {
    match audience {
        Audience::Everyone => Some(&mut table.stream_to_everyone),
        Audience::Room(room) => table.members_mut(room).map(|members| &mut members.stream),
        Audience::Rooms(_) | Audience::Conn(_) => None,
    }
}

/// Whether any connection of an audience satisfies `predicate`.
pub(super) fn any<S>(
    audience: &Audience,
    table: &Table<S>,
    predicate: impl Fn(ConnSlot) -> bool + Copy,
) -> bool {
    let any_member = |room: &Arc<Room>| {
        table.members(room).is_some_and(|members| members.slots().any(predicate))
    };
    match audience {
        Audience::Everyone => table.everyone().iter().copied().any(predicate),
        Audience::Room(room) => any_member(room),
        Audience::Rooms(rooms) => rooms.iter().any(any_member),
        Audience::Conn(id) => table.slot(*id).is_some_and(predicate),
    }
}

/// Whether a delivery is for the connection in `slot`.
pub(super) fn concerns<S>(delivery: &Delivery, slot: ConnSlot, table: &Table<S>) -> bool {
    let Some(entry) = table.get(slot) else { return false };
    let is_reached = match &delivery.audience {
        Audience::Everyone => table.is_listed(slot),
        Audience::Room(room) => table.is_member(slot, room),
        Audience::Rooms(rooms) => rooms.iter().any(|room| table.is_member(slot, room)),
        Audience::Conn(id) => *id == entry.id,
    };
    is_reached && !delivery.except.passes_by(entry.id)
}

/// Calls `f` with each connection of an audience; twice with a connection that is in two rooms of a
/// union. `f` may change the entries, but must not add or remove members.
pub(super) fn for_each<S>(
    audience: &Audience,
    table: &mut Table<S>,
    mut f: impl FnMut(ConnSlot, &mut Table<S>),
) {
    let rooms = match audience {
        Audience::Everyone => {
            let mut index = 0;
            while let Some(&slot) = table.everyone().get(index) {
                f(slot, table);
                index += 1;
            }
            return;
        }
        Audience::Conn(id) => {
            if let Some(slot) = table.slot(*id) {
                f(slot, table);
            }
            return;
        }
        Audience::Room(room) => std::slice::from_ref(room),
        Audience::Rooms(rooms) => rooms,
    };
    for room in rooms {
        let mut index = 0;
        while let Some(slot) = table.members(room).and_then(|members| members.slot_at(index)) {
            f(slot, table);
            index += 1;
        }
    }
}
