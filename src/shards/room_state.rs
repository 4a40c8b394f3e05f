//! The state that an application keeps beside its rooms: it is told of messages to rooms, and of rooms that have
//! emptied, in one order with the joins.
//!
//! # Invariants
//!
//! 1. Whoever hands a message for a room to the shards, or has a connection enter a room, holds the stripe of
//!    that room meanwhile. So does each call of the application about the room. So a message is either in the
//!    state that a joiner reads, or behind the join in the inbox, and never both.
//! 2. A thread that holds stripes takes no others: it would wait for itself, or two threads for each other. The
//!    stripes of several rooms are taken by one call, in ascending order.
//! 3. A room is told of as empty while no shard has it in its index. Whoever would put it there waits for the
//!    stripe.
//! 4. A room that has left an index is noted after it has left. Whoever notes one looks through the notes later,
//!    when it holds no stripe: a shard at the end of its slice, a joiner after its join. So no room is forgotten,
//!    and no more are noted than leave in those slices and joins.

use std::array;
use std::cell::Cell;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use crossbeam_queue::SegQueue;
use crossbeam_utils::CachePadded;
use foldhash::quality::RandomState;

use crate::engine::{Address, Overloaded, Port, RoomWatch, frame};
use crate::net::WriteHalf;

/// Locks that the rooms share by the hash of their names. As many as there are bits in a mask of them.
const STRIPES: usize = u64::BITS as usize;

/// The calls that the application gets, under the stripe of the room. They do not panic.
pub(crate) trait RoomHooks: Send + Sync {
    /// One frame was handed to the shards, for the members of a room.
    fn published(&self, room: &str, frame: &Bytes);

    /// A room has no members here.
    fn emptied(&self, room: &str);
}

/// The rooms that have left the index of a shard, and were not told of yet.
pub(super) struct Emptied {
    names: SegQueue<Box<str>>,
    /// Who else wants to know of rooms.
    next: Option<Arc<dyn RoomWatch>>,
}

impl Emptied {
    pub(super) fn over(next: Option<Arc<dyn RoomWatch>>) -> Self {
        Self { names: SegQueue::new(), next }
    }
}

impl RoomWatch for Emptied {
    fn made(&self, name: &str) {
        self.next.iter().for_each(|next| next.made(name));
    }

    fn gone(&self, name: &str) {
        self.next.iter().for_each(|next| next.gone(name));
        self.names.push(name.into());
    }
}

/// The hooks of an application, and the order in which they are called.
pub(super) struct RoomStates {
    hooks: Box<dyn RoomHooks>,
    stripes: [CachePadded<Mutex<()>>; STRIPES],
    hasher: RandomState,
    ports: Arc<[Arc<Port<WriteHalf>>]>,
    emptied: Arc<Emptied>,
}

impl RoomStates {
    pub(super) fn new(
        hooks: Box<dyn RoomHooks>,
        ports: Arc<[Arc<Port<WriteHalf>>]>,
        emptied: Arc<Emptied>,
    ) -> Self {
        Self {
            hooks,
            stripes: array::from_fn(|_| CachePadded::default()),
            hasher: RandomState::default(),
            ports,
            emptied,
        }
    }

    /// Publishes, and tells of it if that succeeds.
    pub(super) fn publish(
        &self,
        address: Address<'_>,
        frames: &Bytes,
        publish: impl FnOnce() -> Result<(), Overloaded>,
    ) -> Result<(), Overloaded> {
        match address {
            Address::Everyone | Address::Conn(_) => publish(),
            Address::Room(room) => self.alone(room, || {
                publish()?;
                self.report_published(&[room], frames);
                Ok(())
            }),
            Address::Rooms(names) => {
                let mut rooms: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
                rooms.sort_unstable();
                rooms.dedup();
                self.together(&rooms, || {
                    publish()?;
                    self.report_published(&rooms, frames);
                    Ok(())
                })
            }
        }
    }

    /// Has connections enter a room.
    pub(super) fn enter<E>(
        &self,
        room: &str,
        enter: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let result = self.alone(room, || {
            // What a joiner has made of the state, who did not become a member, goes again.
            enter().inspect_err(|_| self.report_if_empty(room))
        });
        // A shard that is gone leaves it to the joiner to take its room out again.
        self.report_emptied();
        result
    }

    /// Tells of the rooms that have left an index and are in none now. For whoever holds no stripe.
    pub(super) fn report_emptied(&self) {
        while let Some(room) = self.emptied.names.pop() {
            self.alone(&room, || self.report_if_empty(&room));
        }
    }

    fn report_published(&self, rooms: &[&str], frames: &Bytes) {
        for frame in frame::split(frames) {
            for room in rooms {
                self.hooks.published(room, &frame);
            }
        }
        // No shard will tell that they have emptied.
        rooms.iter().for_each(|room| self.report_if_empty(room));
    }

    fn report_if_empty(&self, room: &str) {
        if !self.ports.iter().any(|port| port.rooms().contains(room)) {
            self.hooks.emptied(room);
        }
    }

    /// Does something while it holds the stripe of a room.
    fn alone<R>(&self, room: &str, action: impl FnOnce() -> R) -> R {
        let _holding = Holding::begin();
        let _stripe = lock(&self.stripes[self.stripe_of(room)]);
        action()
    }

    /// Does something while it holds the stripes of several rooms.
    fn together<R>(&self, rooms: &[&str], action: impl FnOnce() -> R) -> R {
        let _holding = Holding::begin();
        let wanted = rooms.iter().fold(0_u64, |mask, room| mask | 1 << self.stripe_of(room));
        let wanted = (0..STRIPES).filter(|stripe| wanted >> stripe & 1 == 1);
        let _stripes: Vec<_> = wanted.map(|stripe| lock(&self.stripes[stripe])).collect();
        action()
    }

    fn stripe_of(&self, room: &str) -> usize {
        self.hasher.hash_one(room) as usize % STRIPES
    }
}

/// Tells of the last rooms of a shard, behind which it is dropped, however it ends.
pub(super) struct EmptiedReporter(pub(super) Option<Arc<RoomStates>>);

impl EmptiedReporter {
    pub(super) fn report_emptied(&self) {
        self.0.iter().for_each(|states| states.report_emptied());
    }
}

impl Drop for EmptiedReporter {
    fn drop(&mut self) {
        self.report_emptied();
    }
}

thread_local! {
    /// Whether this thread holds stripes, of whatever hub.
    static IS_HOLDING: Cell<bool> = const { Cell::new(false) };
}

/// This thread holds stripes.
struct Holding;

impl Holding {
    /// # Panics
    /// Where the thread holds stripes already: better than a deadlock, which would come only now and then.
    fn begin() -> Self {
        let is_holding = IS_HOLDING.replace(true);
        assert!(
            !is_holding,
            "a `RoomState` and the closure of `join_with` cannot publish to rooms, nor join them"
        );
        Self
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        IS_HOLDING.set(false);
    }
}

fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    // It guards an order, which a panic of the application does not break.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
