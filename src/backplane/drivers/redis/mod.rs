//! Backplanes over Redis: one server, the master that Sentinel names, or a cluster.
//!
//! All speak RESP3, so that messages and answers share a connection, and leave deadlines, repetition
//! and patience to the hub. They have in common: a server that can be connected to (`remote`), a
//! connection that messages come by (`link`), and how parcels are sent (`parcels`). One server and
//! Sentinel share both halves (`halves`), and the look at the role of a server (`role`).

mod cluster;
mod explain;
mod halves;
mod master_watch;
mod message_connection;
mod parcels;
mod push_receiver;
mod remote;
mod role;
mod secret;
mod sentinel;
mod server_addr;
mod standalone;
#[cfg(feature = "redis-tls")]
mod tls;
mod url;
mod value;

pub use cluster::RedisCluster;
pub use sentinel::RedisSentinel;
pub use standalone::Redis;
#[cfg(feature = "redis-tls")]
pub use tls::RedisTls;
