//! Servers for the tests that need real ones: Redis, a cluster of it, sentinels, TLS for it, and a network
//! that fails on command. All of them end with the test, also when it fails.

mod cluster;
pub mod ports;
mod proxy;
mod sentinel;
mod server;
mod tls;

pub use crate::folder::Folder;
pub use cluster::RedisCluster;
pub use proxy::Proxy;
pub use sentinel::{SERVICE, Watched};
pub use server::RedisServer;
pub use tls::Authority;
pub use tls::Certificate;
