//! From a publish to the driver: messages wait in the outbox, are packed into envelopes, and are sent.

pub(crate) mod outbox;
mod packing;
mod progress;
pub(crate) mod publishing;
