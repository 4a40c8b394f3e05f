//! The core: no I/O, no clock, no async runtime, no log. Time is an argument, a socket a trait.
//!
//! Tests, benchmarks and fuzz targets of this crate use it. It is no part of the API: it may change or go in any
//! version. The way of a message through it:
//!
//! 1. a frame is made once ([`frame`]) and published ([`publish`]): each shard's room index is
//!    looked up, and one [`Delivery`] enters the [`Inbox`] of each shard that has members;
//! 2. the shard takes a batch ([`Shard::run`]), joins the frames that go to the same members, and
//!    writes each member's [`Socket`];
//! 3. what a socket does not take waits in that connection's [`SendQueue`].

mod budget;
mod clock;
mod close;
mod closing;
mod command;
mod congestion;
mod counters;
pub mod frame;
mod inbox;
mod link;
#[cfg(roomcast_loom)]
#[doc(hidden)]
pub mod parts;
mod pending;
mod port;
mod room;
mod room_index;
mod send_queue;
mod shard;
mod socket;
pub(crate) mod sync;

pub use budget::{Budget, Budgets};
#[cfg(feature = "hub")]
pub(crate) use close::REASON_BYTES_MAX as CLOSE_REASON_BYTES_MAX;
pub use close::{Close, CloseCode, DisconnectReason, Eviction, Limit};
pub use closing::{Closing, Shedding};
pub use command::{
    Act, Audience, Change, Command, Delivery, Except, Follow, Leave, Listing, Reply, Slice,
};
pub use congestion::Congestion;
pub use counters::{Counter, Counters};
#[cfg(feature = "hub")]
pub(crate) use counters::{add_counters, live_counters, shard_counters, snapshot};
pub use frame::FrameKind;
pub use inbox::{Inbox, InboxLimits, Overloaded};
pub use link::{ConnKey, End, Link, Newcomer, Stage, UserData};
pub use pending::{PENDING_BYTES_MAX, Pending};
pub use port::{
    Action, ActionError, Address, JoinError, LeaveError, Pace, Port, Publish, RoomLimits, act_at,
    publish, publish_at,
};
pub use room::Room;
pub use room_index::{NoMoreRooms, RoomIndex, RoomWatch, Snapshot};
pub use send_queue::{Amount, Burst, Overflow, Pushed, QueueLimits, SendQueue, WRITE_SLOTS_MAX};
pub use shard::{LARGE_AUDIENCE, RunState, Shard, ShardConfig};
pub use socket::{Acknowledged, Socket};
