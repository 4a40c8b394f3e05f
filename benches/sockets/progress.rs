//! The progress of the messages of all rooms, as far as the threads of the load generator share it.
//!
//! The members of a room may belong to several threads. Each thread counts what its own members have received, without
//! sharing anything, and reports a message once, when all of its members have received it. The thread that reports the
//! message last sends the next one.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};

use crate::Result;

/// The most messages that may be in flight in a room.
const IN_FLIGHT_MAX: usize = 64;

/// Which threads have the members of which rooms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Split {
    pub(crate) threads: usize,
    pub(crate) rooms: usize,
    pub(crate) members: usize,
}

impl Split {
    /// The thread of the member at this seat. Seat `n` is in room `n % rooms`.
    pub(crate) fn thread_of(self, seat: usize) -> usize {
        match self.is_by_rooms() {
            true => seat % self.rooms % self.threads,
            false => seat / self.rooms % self.threads,
        }
    }

    /// The thread that sends the message of this number, counted from 0, of those with which a measurement begins.
    pub(crate) fn first_sender(self, room: usize, number: usize) -> usize {
        match self.is_by_rooms() {
            true => room % self.threads,
            false => number % self.threads_of_room(),
        }
    }

    /// The number of threads with members of a room.
    pub(crate) fn threads_of_room(self) -> usize {
        if self.is_by_rooms() { 1 } else { self.threads.min(self.members) }
    }

    /// With so many rooms, each room belongs to one thread.
    fn is_by_rooms(self) -> bool {
        self.rooms >= self.threads
    }
}

pub(crate) struct Progress {
    split: Split,
    rooms: Vec<RoomProgress>,
    /// The messages in flight during a measurement.
    in_flight: AtomicUsize,
    has_failed: AtomicBool,
}

struct RoomProgress {
    /// The number of messages that were sent.
    sent: AtomicU64,
    /// How many threads have reported the message with this number, modulo [`IN_FLIGHT_MAX`].
    reports: [AtomicU16; IN_FLIGHT_MAX],
}

impl Progress {
    pub(crate) fn new(split: Split) -> Self {
        let new = |_| RoomProgress {
            sent: AtomicU64::new(0),
            reports: [const { AtomicU16::new(0) }; IN_FLIGHT_MAX],
        };
        let rooms = (0..split.rooms).map(new).collect();
        let (in_flight, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { split, rooms, in_flight, has_failed }
    }

    pub(crate) fn split(&self) -> Split {
        self.split
    }

    /// Forgets all messages. No thread may send or receive meanwhile.
    pub(crate) fn reset(&self) {
        for room in &self.rooms {
            room.sent.store(0, Ordering::Relaxed);
            room.reports.iter().for_each(|reports| reports.store(0, Ordering::Relaxed));
        }
    }

    /// Begins a measurement with this many messages in flight in each room.
    pub(crate) fn begin(&self, in_flight: usize) -> Result<()> {
        if in_flight > IN_FLIGHT_MAX {
            return Err(format!("more than {IN_FLIGHT_MAX} messages in flight in a room").into());
        }
        self.in_flight.store(in_flight * self.rooms.len(), Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// A message has reached all members, and no other one follows.
    pub(crate) fn end_one(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Tells the other threads to stop.
    pub(crate) fn fail(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    pub(crate) fn sent(&self, room: usize) -> u64 {
        self.rooms[room].sent.load(Ordering::Relaxed)
    }

    pub(crate) fn count_sent(&self, room: usize) {
        self.rooms[room].sent.fetch_add(1, Ordering::Relaxed);
    }

    /// All members of a thread have received as many messages as this number. Returns `true` if this thread is the
    /// last one of the room.
    pub(crate) fn report(&self, room: usize, number: u64) -> bool {
        let reports = &self.rooms[room].reports[number as usize % IN_FLIGHT_MAX];
        // The counter is used again for a message that is sent after this one has reached all members. Its delivery
        // happens after the reset, because it passes through the server.
        let is_last =
            usize::from(reports.fetch_add(1, Ordering::AcqRel)) + 1 == self.split.threads_of_room();
        if is_last {
            reports.store(0, Ordering::Release);
        }
        is_last
    }
}
