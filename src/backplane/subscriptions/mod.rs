//! Subscriptions: the channels that this node listens to, and the proof that their messages still
//! arrive.

pub(crate) mod echoes;
pub(crate) mod interest;
pub(crate) mod subscribing;
