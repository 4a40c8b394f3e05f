//! A test network with two sides and links between them. The links have the properties that loopback lacks: a
//! round-trip time, a small MTU, and small buffers.
//!
//! ```text
//!  namespace "server"                                         namespace "clients"
//!  ──────────────────                                         ───────────────────
//!  server process      TUN ──► relay thread ──► TUN           clients of the test
//!  10.77.0.1               ◄──  a Link for  ◄──               10.77.1.0, 10.77.1.1, …
//!                               each client address           one address a link
//! ```
//!
//! One thread of the test process runs in each namespace. The processes that this thread starts, and the tasks of its
//! runtime, run in the same namespace. No other process enters a namespace. The kernel removes a namespace when its
//! thread and its processes have ended.
//!
//! Needs root on Linux, and `ip` of iproute2.

#[cfg(test)]
mod checks;
pub mod link;
pub mod namespaces;
pub mod relay;

pub use self::link::Profile;
pub use self::namespaces::Network;
