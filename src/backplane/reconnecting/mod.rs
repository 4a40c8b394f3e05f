//! Reconnecting: connects each half of the backplane again and again, with a back-off.

pub(crate) mod backoff;
pub(crate) mod halves;
pub(crate) mod supervise;
