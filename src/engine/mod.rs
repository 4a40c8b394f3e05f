//! The core: no I/O, no clock, no async runtime and no log. Time is an argument, and a socket is a
//! trait.
//!
//! Tests, benchmarks and fuzz targets of this crate use this module. It is not part of the API: it
//! may change or disappear in any version. A message takes this way through it:
//!
//! 1. The message becomes a frame once ([`frame`]) and is published ([`publish`]): the room index
//!    of each shard is looked up, and one [`Delivery`] enters the [`Inbox`] of each shard with
//!    members.
//! 2. The shard takes a batch ([`Shard::run`]), joins the frames that go to the same members, and
//!    writes to the [`Socket`] of each member.
//! 3. Bytes that a socket does not take wait in the [`SendQueue`] of that connection.

mod batch;
mod budget;
mod clock;
mod close;
mod closing;
mod command;
mod compression;
mod congestion;
mod counters;
pub mod frame;
mod frames;
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
mod shared_bytes;
mod socket;
pub(crate) mod sync;

pub use batch::{BatchWriter, WriteResult};
pub use budget::{Budget, Budgets};
#[cfg(feature = "hub")]
pub(crate) use clock::LATENESS_MIN;
#[cfg(feature = "hub")]
pub(crate) use close::REASON_BYTES_MAX as CLOSE_REASON_BYTES_MAX;
pub use close::{Close, CloseCode, DisconnectReason, Eviction, Limit};
pub use closing::{Closing, Shedding};
pub use command::{
    Act, Audience, Change, Command, Delivery, Except, Follow, Leave, Listing, Reply, Slice,
};
pub use compression::{
    ClientInflater, Compressor, NewCompressor, ShardCompression, WINDOW_BITS_MAX,
};
pub use congestion::Congestion;
pub use counters::{Counter, Counters};
#[cfg(feature = "hub")]
pub(crate) use counters::{add_counters, live_counters, shard_counters, snapshot};
pub use frame::FrameKind;
pub use frames::Frames;
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
pub(crate) use shared_bytes::copy_for_many;
pub use socket::{Acknowledged, Socket};
