//! Helpers for tokio: waiting for a condition, deadlines, wakers that do not panic, and work that
//! needs no task while it waits. Every layer above the engine may use them.

pub(crate) mod bell;
pub(crate) mod deadline;
pub(crate) mod notify;
#[cfg(roomcast_loom)]
pub(crate) mod parts;
pub(crate) mod resting;
pub(crate) mod shield;
