//! The state that an application keeps beside its rooms. The hooks of the application see the
//! messages to a room, its emptying and its joins in one order.
//!
//! # Invariants
//!
//! 1. A thread holds the stripe (a lock) of a room while it hands a message for the room to the
//!    shards, while it makes a connection enter the room, and while it calls a hook about the room.
//!    So each message is either in the state that a joiner reads, or in the inbox after the join,
//!    never both.
//! 2. A thread that holds stripes takes no further stripes: it could wait for itself, or two
//!    threads for each other. One call takes the stripes of several rooms, in ascending order.
//! 3. A room is reported as empty only while no shard has the room in its index. A thread that
//!    wants to add the room to an index waits for the stripe.
//! 4. A room is queued as emptied after it has left an index. The thread that queues it drains the
//!    queue later, when it holds no stripe: a shard at the end of its slice, a joiner after its
//!    join. So no room is forgotten, and the queue is bounded by the number of rooms that empty
//!    during the slices and joins that are under way.

use std::array;
use std::cell::Cell;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_queue::SegQueue;
use crossbeam_utils::CachePadded;
use foldhash::quality::RandomState;

use crate::engine::{Address, Frames, Overloaded, Port, RoomWatch};
use crate::net::WriteHalf;

/// The number of locks that the rooms share by the hash of their names: 64, so that a `u64` can
/// hold one bit for each lock.
const STRIPES: usize = u64::BITS as usize;

/// The hooks of the application, called under the stripe of the room. They must not panic.
pub(crate) trait RoomHooks: Send + Sync {
    /// Called for each frame that was handed to the shards for the members of a room.
    fn published(&self, room: &str, frame: Frames);

    /// Called when a room has no members on this node.
    fn emptied(&self, room: &str);
}

/// The queue of the rooms that have left the index of a shard and were not reported yet.
pub(super) struct Emptied {
    names: SegQueue<Box<str>>,
    /// The next watcher of rooms, if any.
    next: Option<Arc<dyn RoomWatch>>,
}

impl Emptied {
    /// Makes an empty queue that passes all calls on to `next`.
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
pub(super) struct OrderedHooks {
    hooks: Box<dyn RoomHooks>,
    stripes: [CachePadded<Mutex<()>>; STRIPES],
    hasher: RandomState,
    ports: Arc<[Arc<Port<WriteHalf>>]>,
    emptied: Arc<Emptied>,
}

impl OrderedHooks {
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

    /// Publishes, and reports the message to the hooks if it was handed over.
    pub(super) fn publish(
        &self,
        address: Address<'_>,
        frames: &Frames,
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

    /// Makes connections enter a room.
    pub(super) fn enter<E>(
        &self,
        room: &str,
        enter: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let result = self.alone(room, || {
            // A joiner that has failed may have made a state for a room without members: report the
            // room as empty.
            enter().inspect_err(|_| self.report_if_empty(room))
        });
        // If the shard is gone, the join itself has taken the room out of the index and queued it.
        self.report_emptied();
        result
    }

    /// Reports the queued rooms that are in no index now. The caller must hold no stripe (invariant
    /// 4).
    pub(super) fn report_emptied(&self) {
        while let Some(room) = self.emptied.names.pop() {
            self.alone(&room, || self.report_if_empty(&room));
        }
    }

    fn report_published(&self, rooms: &[&str], frames: &Frames) {
        for frame in frames.split() {
            for room in rooms {
                self.hooks.published(room, frame.clone());
            }
        }
        // A room without members is in no index, so no shard will report it.
        rooms.iter().for_each(|room| self.report_if_empty(room));
    }

    fn report_if_empty(&self, room: &str) {
        if !self.ports.iter().any(|port| port.rooms().contains(room)) {
            self.hooks.emptied(room);
        }
    }

    /// Calls `action` under the stripe of a room (invariant 1).
    fn alone<R>(&self, room: &str, action: impl FnOnce() -> R) -> R {
        let _holding = Holding::begin();
        let _stripe = lock(&self.stripes[self.stripe_of(room)]);
        action()
    }

    /// Calls `action` under the stripes of several rooms, taken in ascending order (invariant 2).
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

/// Reports the last rooms of a shard when it is dropped, however the shard ends. It must be dropped
/// after the shard.
pub(super) struct EmptiedReporter(pub(super) Option<Arc<OrderedHooks>>);

impl EmptiedReporter {
    pub(super) fn report_emptied(&self) {
        self.0.iter().for_each(|hooks| hooks.report_emptied());
    }
}

impl Drop for EmptiedReporter {
    fn drop(&mut self) {
        self.report_emptied();
    }
}

thread_local! {
    /// Whether this thread holds stripes of any hub.
    static IS_HOLDING: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as holding stripes until it is dropped (invariant 2).
struct Holding;

impl Holding {
    /// # Panics
    /// If the thread already holds stripes. A panic is better than a deadlock that happens only
    /// sometimes.
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
    // The lock guards an order, not data: a panic of the application cannot break it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
