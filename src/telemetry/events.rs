//! Events for the subscriber of `tracing`. Each layer defines its own.
//!
//! What a client can bring about at will is told at `debug`, for logs must not be filled from outside;
//! what an operator should look at, at `warn` or above, where it cannot come often or is summed up in short lines.
//! What a client has sent is told in its `Debug` form, so that no line of a log is its work.

#[cfg(feature = "tracing")]
use std::any::Any;

/// Defines functions that tell of something, and do nothing without the feature.
macro_rules! events {
    ($(
        $(#[$attribute:meta])+
        $level:ident $name:ident($($argument:ident: $type:ty),*) for $target:literal { $($told:tt)+ }
    )+) => {$(
        $(#[$attribute])+
        pub(crate) fn $name($($argument: $type),*) {
            #[cfg(feature = "tracing")]
            tracing::$level!(target: $target, $($told)+);
            #[cfg(not(feature = "tracing"))]
            let _ = ($($argument,)*);
        }
    )+};
}

pub(crate) use events;

/// What a panic says.
#[cfg(feature = "tracing")]
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default()
}
