//! The types through which the core shares memory: the real ones, or those of a model checker.
//!
//! A build with `--cfg roomcast_loom` uses loom's types. Loom tries every interleaving (for most
//! models, every one with a bounded number of preemptions) and the effects of weak memory. A build
//! with `--cfg roomcast_shuttle` uses shuttle's types, which draw interleavings at random. Both
//! builds also need the feature `_models`. The cfgs are this crate's own, because tokio has no
//! network under `--cfg loom`.
//!
//! `Arc` is the standard one everywhere: nothing here depends on a reference count. Counters and
//! the shard's clock order nothing, so they use the standard atomics: each access would only
//! multiply the interleavings to try.

#[cfg(roomcast_loom)]
mod loom;
#[cfg(roomcast_shuttle)]
mod shuttle;

#[cfg(not(any(roomcast_loom, roomcast_shuttle)))]
mod real {
    pub(crate) use std::sync::atomic::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
    pub(crate) use std::sync::{Mutex, MutexGuard};

    pub(crate) use arc_swap::ArcSwap;
    pub(crate) use atomic_waker::AtomicWaker;
    pub(crate) use crossbeam_queue::SegQueue;
    pub(crate) use once_cell::race::OnceBox;
}

#[cfg(roomcast_loom)]
pub(crate) use self::loom::*;
#[cfg(not(any(roomcast_loom, roomcast_shuttle)))]
pub(crate) use self::real::*;
#[cfg(roomcast_shuttle)]
pub(crate) use self::shuttle::*;
