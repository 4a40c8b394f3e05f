//! What the core shares memory with: the real types, or what a model checker sees of them.
//!
//! A build with `--cfg roomcast_loom` takes loom's types: they try every interleaving (of most models, every one with a
//! bounded number of preemptions), and what weak memory allows. A build with `--cfg roomcast_shuttle` takes shuttle's,
//! which draw interleavings at random. Both builds also need the feature `_models`. The cfgs are this crate's own
//! because tokio's network is not there under `--cfg loom`.
//!
//! `Arc` is the standard one everywhere: nothing here depends on a count of references. Neither do
//! counters and the shard's clock pass through here, which order nothing: each access would only
//! multiply what there is to try.

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
