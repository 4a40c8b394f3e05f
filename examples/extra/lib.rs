//! Programs of roomcast's documentation that need crates which the root package does without: compiled as doctests.

#[cfg(doctest)]
#[doc = include_str!("../../src/docs/from_tokio_broadcast.md")]
struct FromTokioBroadcast;

#[cfg(doctest)]
#[doc = include_str!("../../src/docs/tuning.md")]
struct Tuning;
