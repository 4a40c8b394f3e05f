//! The shards of a hub: the engine's state machines, each driven by a task, and what a publisher or a
//! session asks of them.
//!
//! This is the only place where the engine meets the runtime.

mod alive;
mod driver;
mod events;
mod room_state;
#[cfg(feature = "metrics")]
mod sampler;
#[cfg(not(feature = "metrics"))]
#[path = "no_sampler.rs"]
mod sampler;
mod set;

pub(crate) use room_state::RoomHooks;
#[cfg(feature = "metrics")]
pub(crate) use sampler::{Sample, Sampler};
pub(crate) use set::{Layout, Shards};
