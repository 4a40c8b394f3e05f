//! From a publish to the driver: messages wait in the outbox, are packed into envelopes, and are
//! published.

pub(crate) mod outbox;
pub(crate) mod packing;
mod progress;
pub(crate) mod publishing;
