//! The other nodes: which exist, which have come back after a break, and what they report.

pub(crate) mod attendance;
pub(crate) mod cluster;
pub(crate) mod fleet;
pub(crate) mod roster;
