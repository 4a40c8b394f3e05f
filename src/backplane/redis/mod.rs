//! Backplanes over Redis: one server, or a cluster.
//!
//! Both speak RESP3, so that messages and answers share a connection, and both leave deadlines,
//! repetition and patience to the hub. What is common to them: a server that can be connected to
//! (`remote`), a connection that messages come by (`link`), and how parcels are sent (`parcels`).

mod cluster;
mod halves;
mod link;
mod listener;
mod moves;
mod parcels;
mod remote;
mod role;
mod secret;
mod standalone;
mod value;

pub use cluster::RedisCluster;
pub use standalone::Redis;
