//! [`RoomState`]: state that an application keeps for each room.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use super::stats::HubCounters;
use super::{Encoded, events};
use crate::engine::Frames;
use crate::shards::RoomHooks;
use crate::telemetry::Throttle;

/// State that an application keeps for each room of this node: the last messages, a document, who
/// is typing.
///
/// The hub calls [`on_publish`](Self::on_publish) for each message to a room, and
/// [`on_empty`](Self::on_empty) when the last member has left a room. A connection that joins reads
/// the state in [`Conn::join_with`](crate::Conn::join_with). Pass the state to
/// [`Builder::room_state`](crate::Builder::room_state). The page [`docs::state`](crate::docs) has
/// recipes for one node and for several.
///
/// # Ordering
/// The hub holds a lock of the room while it hands a message to the members and calls `on_publish`,
/// while a connection joins, and while it calls `on_empty`. So the calls for one room come one
/// after the other. The members on this node get the messages in the order of the calls. A
/// connection that joins gets each message once: from the state or after the join. All rooms share
/// 64 such locks, and calls for different rooms may run in parallel, so protect the state with your
/// own lock.
///
/// # Rules
/// - Do not hold the lock of the state while you publish to a room or join one: two threads would
///   wait for each other.
/// - Neither method, nor the closure of `join_with`, may publish to a room or join one. Such a call
///   panics, also for a room of another hub that has a `RoomState`. Messages to everyone and to one
///   connection are allowed.
/// - Both methods run on the thread of a publisher or of a shard, and all users of the room wait:
///   return within some microseconds.
///
/// A panic of a method has no other effect:
/// [`Stats::room_state_panics`](crate::Stats::room_state_panics) counts it, and the hub logs an
/// event.
///
/// # Examples
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use roomcast::{Encoded, RoomState};
///
/// /// The last message of each room.
/// #[derive(Default)]
/// struct Last(Mutex<HashMap<String, Encoded>>);
///
/// impl RoomState for Last {
///     fn on_publish(&self, room: &str, message: &Encoded) {
///         self.0.lock().unwrap().insert(room.to_owned(), message.clone());
///     }
///
///     fn on_empty(&self, room: &str) {
///         self.0.lock().unwrap().remove(room);
///     }
/// }
/// ```
pub trait RoomState: Send + Sync + 'static {
    /// Called for each message that is published to a room: by a publisher on this node, by another
    /// node, or by another program on the plain channel. The default does nothing.
    ///
    /// If a target has several rooms, the method is called once for each. Exceptions of the target
    /// make no difference. It is not called for messages to everyone or to one connection, nor for
    /// a publish that fails.
    ///
    /// For publishes of this node, it is called whether or not the room has members here. With a
    /// backplane, this node receives messages of other nodes only on the channels to which it has
    /// subscribed. With one channel ([`Builder::channels`](crate::Builder::channels), the default),
    /// these are the messages to all rooms. With several, these are the messages on the channels of
    /// rooms that have members here.
    ///
    /// A kept message does not keep the memory of the batch in which it arrived.
    fn on_publish(&self, room: &str, message: &Encoded) {
        let _ = (room, message);
    }

    /// Called when a room has no member on this node: drop the state of the room, or note the time.
    /// The default does nothing.
    ///
    /// - It is called after the last member of a room has left or disconnected, when the shard has
    ///   handled that.
    /// - It is also called after [`on_publish`](Self::on_publish) for a room without members (once
    ///   for messages of another node that arrive together). So a state that drops the room in this
    ///   method keeps nothing for rooms without members.
    /// - It may be called more than once.
    /// - It is never called for a room that has a member. A connection that joins at the same
    ///   moment finds the state either as it was before this call or as it is afterwards, never a
    ///   state in between.
    fn on_empty(&self, room: &str) {
        let _ = room;
    }
}

impl<S: RoomState + ?Sized> RoomState for Arc<S> {
    fn on_publish(&self, room: &str, message: &Encoded) {
        (**self).on_publish(room, message);
    }

    fn on_empty(&self, room: &str) {
        (**self).on_empty(room);
    }
}

/// The hooks by which the shards call a state. They catch and count its panics.
pub(super) struct Hooks {
    state: Box<dyn RoomState>,
    counters: Arc<HubCounters>,
    /// Panics that no event has reported yet.
    panics: Mutex<Throttle>,
}

impl Hooks {
    pub(super) fn new(state: Box<dyn RoomState>, counters: Arc<HubCounters>) -> Self {
        Self { state, counters, panics: Mutex::default() }
    }

    fn call(&self, hook: impl FnOnce(&dyn RoomState)) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| hook(&*self.state))) {
            self.report_panic(&*panic);
        }
    }

    #[cold]
    fn report_panic(&self, panic: &(dyn Any + Send)) {
        self.counters.room_state_panics.add(1);
        let mut panics = self.panics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = panics.add(1) {
            events::room_state_panicked(panic, times);
        }
    }
}

impl RoomHooks for Hooks {
    fn published(&self, room: &str, frame: Frames) {
        let message = Encoded(frame);
        self.call(|state| state.on_publish(room, &message));
    }

    fn emptied(&self, room: &str) {
        self.call(|state| state.on_empty(room));
    }
}
