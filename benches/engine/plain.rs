//! The code that one would write without this crate: maps behind a lock.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use crate::hub::Sink;

/// The members of rooms. A room without members is removed, as in this crate.
#[derive(Default)]
pub(crate) struct PlainRooms(Mutex<HashMap<String, HashSet<u64>>>);

impl PlainRooms {
    pub(crate) fn join(&self, id: u64, room: &str) {
        let mut rooms = lock(&self.0);
        match rooms.get_mut(room) {
            Some(members) => members.insert(id),
            None => rooms.entry(room.to_owned()).or_default().insert(id),
        };
    }

    pub(crate) fn leave(&self, id: u64, room: &str) {
        let mut rooms = lock(&self.0);
        let Some(members) = rooms.get_mut(room) else { return };
        members.remove(&id);
        if members.is_empty() {
            rooms.remove(room);
        }
    }

    pub(crate) fn join_all(&self, connections: usize, names: &[String]) {
        (0..connections).for_each(|index| self.join(index as u64, &names[index % names.len()]));
    }

    pub(crate) fn leave_all(&self, connections: usize, names: &[String]) {
        (0..connections).for_each(|index| self.leave(index as u64, &names[index % names.len()]));
    }
}

/// A connection: its socket, and its rooms.
type PlainConnection = (Sink, Vec<String>);

/// A hub: connections, and the rooms of each connection.
#[derive(Default)]
pub(crate) struct PlainHub {
    connections: Mutex<HashMap<u64, PlainConnection>>,
    rooms: PlainRooms,
}

impl PlainHub {
    pub(crate) fn connect(&self, id: u64) {
        lock(&self.connections).insert(id, (Sink, Vec::new()));
    }

    pub(crate) fn join(&self, id: u64, room: &str) {
        if let Some((_, rooms)) = lock(&self.connections).get_mut(&id) {
            rooms.push(room.to_owned());
        }
        self.rooms.join(id, room);
    }

    pub(crate) fn disconnect(&self, id: u64) {
        let connection = lock(&self.connections).remove(&id);
        let rooms = connection.map(|(_, rooms)| rooms).unwrap_or_default();
        rooms.iter().for_each(|room| self.rooms.leave(id, room));
    }
}

fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().expect("no thread panics")
}
