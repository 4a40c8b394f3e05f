//! Real servers for tests: Redis, a Redis cluster, sentinels, TLS for Redis, and a network that fails on command.
//! All servers end with the test, also when the test fails.

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
