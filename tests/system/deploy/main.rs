//! Nodes behind nginx and HAProxy: handshakes, order, reloads, and restarts of nodes, one after the other.
//!
//! Both are Debian's packages. Each test starts the balancers, the nodes and the Redis that it needs.
#![cfg(target_os = "linux")]

#[path = "deploy/addresses.rs"]
mod addresses;
#[path = "deploy/balancer.rs"]
mod balancer;
#[path = "deploy/crowd.rs"]
mod crowd;
#[path = "deploy/introducer.rs"]
mod introducer;
#[path = "deploy/node.rs"]
mod node;
mod programs;
#[path = "deploy/restart.rs"]
mod restart;
#[expect(dead_code, unused_imports, reason = "the tests of the backplane use more of it")]
mod servers;
#[path = "deploy/steady.rs"]
mod steady;
#[expect(dead_code, unused_imports, reason = "the tests of the hub use more of it")]
#[path = "hub/support.rs"]
mod support;
