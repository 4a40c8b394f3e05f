//! Compiles, as doctests, the documentation pages whose programs need crates that the root package does not depend on.

#[cfg(doctest)]
#[doc = include_str!("../../src/docs/from_tokio_broadcast.md")]
struct FromTokioBroadcast;

#[cfg(doctest)]
#[doc = include_str!("../../src/docs/tuning.md")]
struct Tuning;
