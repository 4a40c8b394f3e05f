//! The drivers: they carry bytes between nodes, by the contract of [`Backplane`](super::Backplane).

pub(crate) mod local;
#[cfg(feature = "redis")]
pub(crate) mod redis;
