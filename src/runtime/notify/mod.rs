//! Tokio's `Notify`, or a stand-in whose calls a model checker sees.
//!
//! As in [`engine::sync`](crate::engine::sync), `--cfg roomcast_loom` and `--cfg roomcast_shuttle` choose the
//! stand-in. The type is not in `engine::sync`, because the engine knows no tokio.

#[cfg(any(roomcast_loom, roomcast_shuttle))]
mod stepped;

#[cfg(not(any(roomcast_loom, roomcast_shuttle)))]
pub(crate) use tokio::sync::Notify;

#[cfg(any(roomcast_loom, roomcast_shuttle))]
pub(crate) use self::stepped::Notify;
