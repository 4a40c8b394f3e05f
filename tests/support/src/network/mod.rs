//! A network of two sides with links between them: what loopback hides. Loopback has no round
//! trip, no MTU to speak of, and buffers of megabytes.
//!
//! ```text
//!  namespace "server"                                         namespace "clients"
//!  ──────────────────                                         ───────────────────
//!  server process      TUN ──► relay thread ──► TUN           clients of the test
//!  10.77.0.1               ◄──  a Link for  ◄──               10.77.1.0, 10.77.1.1, …
//!                               each client address           one address a link
//! ```
//!
//! A thread of the test's process is in each namespace, and what it starts is there, too: processes,
//! and the tasks of its runtime. No process is entered from outside, and nothing is left of a
//! namespace when its thread and its processes have ended.
//!
//! For root on Linux, with `ip` of iproute2.

#[cfg(test)]
mod checks;
pub mod link;
pub mod namespaces;
pub mod relay;

pub use self::link::Profile;
pub use self::namespaces::Network;
