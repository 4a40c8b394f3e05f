//! Drivers over Redis: one server, the master that Sentinel names, or a cluster.
//!
//! All of them use RESP3, so that messages and answers share a connection, and leave deadlines,
//! repetition and back-off to the hub. They share the server to connect to (`remote`), the
//! connection that messages arrive by (`message_connection`), and the sending of parcels
//! (`parcels`). One server and Sentinel also share both halves (`halves`) and the check of a
//! server's role (`role`).

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
