//! Helpers for tokio: waiting for a condition, deadlines, and wakers that do not panic. Every layer
//! above the engine may use them.

pub(crate) mod bell;
pub(crate) mod deadline;
pub(crate) mod notify;
#[cfg(roomcast_loom)]
pub(crate) mod parts;
pub(crate) mod shield;
