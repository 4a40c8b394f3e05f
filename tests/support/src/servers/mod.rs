//! Servers for the tests that need real ones: Redis, a cluster of it, sentinels, TLS for it, and a network
//! that fails on command. All of them end with the test, also when it fails.
//!
//! A test binary that uses this has `mod programs` and `mod support`, too.

mod cluster;
mod folder;
pub(crate) mod ports;
mod proxy;
mod sentinel;
mod server;
mod tls;

pub(crate) use cluster::RedisCluster;
pub(crate) use folder::Folder;
pub(crate) use proxy::Proxy;
pub(crate) use sentinel::{SERVICE, Watched};
pub(crate) use server::RedisServer;
#[cfg(feature = "redis-tls")]
pub(crate) use tls::Authority;
pub(crate) use tls::Certificate;
