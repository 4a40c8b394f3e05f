//! Nodes behind nginx and HAProxy: handshakes, order, reloads, and restarts of nodes, one after the other.
//!
//! Both are Debian's packages. Each test starts the balancers, the nodes and the Redis that it needs.
#![cfg(target_os = "linux")]

mod addresses;
mod balancer;
mod crowd;
mod introducer;
mod node;
mod restart;
mod steady;
