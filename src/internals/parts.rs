//! What models see of the private parts above the engine, in the builds of a model checker alone.
//!
//! [`engine::parts`](crate::engine::parts) has those of the engine.

pub use crate::backplane::parts::{Interest, Outbox};
pub use crate::hub::parts::Lifetime;
pub use crate::net::parts::Halves;
pub use crate::shards::parts::Relief;
