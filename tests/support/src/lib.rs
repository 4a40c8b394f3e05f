//! Helpers that several test programs and benchmarks of roomcast share.
//!
//! The feature `system` adds the helpers that need more crates: servers of the system, a network of
//! namespaces, and processes under load. The tests of the root package do not use `system`, so that the first build
//! of a clone stays small.

#![expect(clippy::new_without_default, reason = "tests call `new`, which makes files and channels")]

#[macro_use]
pub mod claims;
pub mod faulty;
#[cfg(all(feature = "system", target_os = "linux"))]
pub mod flood;
pub mod folder;
mod frames;
mod hub;
#[cfg(all(feature = "system", target_os = "linux"))]
pub mod io_uring;
#[cfg(all(feature = "system", target_os = "linux"))]
pub mod network;
pub mod plain;
pub mod programs;
#[cfg(feature = "system")]
pub mod scene;
#[cfg(feature = "system")]
pub mod servers;

pub use self::frames::{RSV1, deflated, frame, header};
pub use self::hub::*;
