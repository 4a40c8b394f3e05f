//! The shards of a hub: each is a state machine of the engine, driven by a task on tokio, or by a
//! thread of its own ([`threads`]).
//!
//! This folder is the only place where the engine meets the runtime. The engine knows no clock, no
//! task and no socket. So the [`driver`] of a shard passes it the time, calls
//! [`Shard::run`](crate::engine::Shard::run) for a slice of work, and then waits until the inbox is
//! filled or the next tick is due. The engine writes to sockets through its trait
//! [`Socket`](crate::engine::Socket), which [`WriteHalf`](crate::net::WriteHalf) implements.
//! Publishers and sessions reach the shards through their ports and inboxes: the [`set`] of shards
//! adds waiting ([`Bell`](crate::runtime::bell::Bell)), the end of shards ([`alive`]), samples of
//! latency ([`sampler`]) and the state beside rooms ([`room_state`]).

mod alive;
mod clock;
mod driver;
mod events;
mod room_state;
mod runtime_end;
#[cfg(feature = "metrics")]
mod sampler;
#[cfg(not(feature = "metrics"))]
#[path = "no_sampler.rs"]
mod sampler;
mod set;
mod threads;

pub(crate) use room_state::RoomHooks;
#[cfg(feature = "metrics")]
pub(crate) use sampler::{Sample, Sampler};
pub(crate) use set::{Layout, Shards};
pub(crate) use threads::ThreadError;
