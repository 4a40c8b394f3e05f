//! Nodes behind nginx and HAProxy: handshakes, message order, reloads, and rolling restarts of nodes.
//!
//! Both are the packages of Debian. Each test starts the balancers, the nodes and the Redis that it needs.
#![cfg(target_os = "linux")]

mod addresses;
mod balancer;
mod crowd;
mod introducer;
mod node;
mod restart;
mod steady;
