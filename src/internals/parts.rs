//! The private parts above the engine that models use. Only for builds of a model checker.
//!
//! [`engine::parts`](crate::engine::parts) has the parts of the engine.

pub use crate::backplane::parts::{Interest, Outbox};
pub use crate::hub::parts::Lifetime;
pub use crate::net::parts::Halves;
pub use crate::runtime::parts::Bell;
