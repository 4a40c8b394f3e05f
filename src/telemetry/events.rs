//! Events for the subscriber of `tracing`. Each layer defines its own events.
//!
//! An event that a client can cause at will has the level `debug`, so that a client cannot fill the
//! log. An event for the operator has the level `warn` or above, if it cannot come often or is
//! summed up in short lines. Text that a client has sent is logged in its `Debug` form, so that a
//! client cannot forge a line of the log.

#[cfg(feature = "tracing")]
use std::any::Any;

/// Defines functions that log an event. Without the feature `tracing` they do nothing.
macro_rules! events {
    ($(
        $(#[$attribute:meta])+
        $level:ident $name:ident($($argument:ident: $type:ty),*) for $target:literal { $($event:tt)+ }
    )+) => {$(
        $(#[$attribute])+
        pub(crate) fn $name($($argument: $type),*) {
            #[cfg(feature = "tracing")]
            tracing::$level!(target: $target, $($event)+);
            #[cfg(not(feature = "tracing"))]
            let _ = ($($argument,)*);
        }
    )+};
}

pub(crate) use events;

/// Returns the message of a panic. Empty if the payload is not text.
#[cfg(feature = "tracing")]
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default()
}
