//! One room of one shard, as any thread may share it.

use std::fmt;

use super::pending::Pending;
use super::sync::{AtomicU32, Ordering};

/// The claim count of a room that has left the index for good.
const RETIRED: u32 = u32::MAX;

/// The slot of a room that has no members in its shard yet.
pub(super) const NO_SLOT: u32 = u32::MAX;

/// A room of one shard.
pub struct Room {
    name: Box<str>,
    /// Members plus joins on their way, or [`RETIRED`]. Guards no other memory: what a claim stands
    /// for travels through the inbox.
    claims: AtomicU32,
    /// Where the shard keeps the members. Written and read by the shard's task alone; an atomic only
    /// because the room is shared.
    slot: AtomicU32,
    /// Leaves on their way: whoever leaves adds, the shard takes off. Orders nothing.
    leaving: AtomicU32,
    /// Messages on their way.
    pending: Pending,
}

impl Room {
    pub(super) fn claimed(name: &str) -> Self {
        Self {
            name: name.into(),
            claims: AtomicU32::new(1),
            slot: AtomicU32::new(NO_SLOT),
            leaving: AtomicU32::new(0),
            pending: Pending::default(),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Members, with the joins and without the leaves that are on their way. A leave by a connection
    /// that is in other rooms and not in this one makes it one too few until the shard has seen it.
    pub fn members(&self) -> usize {
        let leaving = self.leaving.load(Ordering::Relaxed);
        match self.claims.load(Ordering::Relaxed) {
            RETIRED => 0,
            claims => claims.saturating_sub(leaving) as usize,
        }
    }

    /// What is on its way to the members.
    pub(super) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Notes a leave on its way to the shard.
    pub(super) fn start_leaving(&self) {
        self.leaving.fetch_add(1, Ordering::Relaxed);
    }

    /// The shard has seen a leave.
    pub(super) fn finish_leaving(&self) {
        self.leaving.fetch_sub(1, Ordering::Relaxed);
    }

    /// Claims it for one member to come, unless it is retired. Whoever holds a claim can make others.
    pub(super) fn claim(&self) -> bool {
        // One more than `RETIRED` does not exist, which is what keeps a retired room retired.
        self.claims
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |claims| claims.checked_add(1))
            .is_ok()
    }

    /// Takes one claim off; `true` if it was the last and the room is now retired.
    pub(super) fn unclaim(&self) -> bool {
        self.claims.fetch_sub(1, Ordering::Relaxed) == 1
            && self
                .claims
                .compare_exchange(0, RETIRED, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    pub(super) fn slot(&self) -> u32 {
        self.slot.load(Ordering::Relaxed)
    }

    pub(super) fn set_slot(&self, slot: u32) {
        self.slot.store(slot, Ordering::Relaxed);
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("name", &self.name).field("members", &self.members()).finish()
    }
}
