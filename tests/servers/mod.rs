//! Servers for the tests that need real ones: Redis, a cluster of it, TLS for it, and a network
//! that fails on command. All of them end with the test, also when it fails.
//!
//! A test binary that uses this has `mod programs` and `mod support`, too.

mod cluster;
mod folder;
pub(crate) mod ports;
mod proxy;
mod server;
mod tls;

pub(crate) use cluster::RedisCluster;
pub(crate) use folder::Folder;
pub(crate) use proxy::Proxy;
pub(crate) use server::RedisServer;
pub(crate) use tls::Certificate;
