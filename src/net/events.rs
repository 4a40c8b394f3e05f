//! Events of streams.

use std::any::Any;

use crate::telemetry::events;
#[cfg(feature = "tracing")]
use crate::telemetry::panic_text;

events! {
    /// A stream of the application panicked. The connection of this id used it.
    error stream_panicked(conn: u64, payload: &(dyn Any + Send)) for "roomcast::conn" {
        conn, panic = panic_text(payload), "stream panicked"
    }
}
