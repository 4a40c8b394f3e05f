//! Which channels this node listens to, and the proof that it still hears them.

pub(crate) mod echoes;
pub(crate) mod interest;
pub(crate) mod subscribing;
