//! One room of one shard, which any thread may share.
//!
//! The numbers of invariants are those of [`room_index`](super::room_index).

use std::fmt;

use super::pending::Pending;
use super::sync::{AtomicU32, Ordering};

/// The claim count of a retired room (invariant 3).
const RETIRED: u32 = u32::MAX;

/// The slot of a room that no join has reached in its shard, or whose last claim is gone.
pub(super) const NO_SLOT: u32 = u32::MAX;

/// A room of one shard.
pub struct Room {
    name: Box<str>,
    /// The claim count: members plus joins on their way, or [`RETIRED`] (invariant 2). Publishes no
    /// other memory: the join itself travels through the inbox.
    claims: AtomicU32,
    /// The place of the members in the shard's table. Only the shard's task reads and writes it; it
    /// is an atomic because the room is shared.
    slot: AtomicU32,
    /// The number of leaves on their way, and of actions that join and hold a claim more. The
    /// sender adds, the shard subtracts; orders nothing.
    leaving: AtomicU32,
    /// The bytes of the messages on their way to the members.
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

    /// The number of members, with the joins on their way and without the leaves on their way. A
    /// leave by a connection that is in other rooms, but not in this one, makes the number too
    /// small by one until the shard has seen the leave.
    pub fn members(&self) -> usize {
        let leaving = self.leaving.load(Ordering::Relaxed);
        match self.claims.load(Ordering::Relaxed) {
            RETIRED => 0,
            claims => claims.saturating_sub(leaving) as usize,
        }
    }

    /// The bytes that are on their way to the members.
    pub(super) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Counts a leave that is about to be sent to the shard.
    pub(super) fn start_leaving(&self) {
        self.leaving.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a leave that the shard has seen.
    pub(super) fn finish_leaving(&self) {
        self.leaving.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes a claim for a member to come; `false` if the room is retired. While somebody holds a
    /// claim, this succeeds.
    pub(super) fn claim(&self) -> bool {
        // Invariant 3: `RETIRED` is the maximum, so adding to it fails and a retired room stays
        // retired.
        self.claims
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |claims| claims.checked_add(1))
            .is_ok()
    }

    /// Takes a claim back; `true` if it was the last and the room is now retired (invariant 3).
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
