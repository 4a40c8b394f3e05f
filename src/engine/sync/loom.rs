//! Loom's types, and stand-ins for the crates that loom cannot see into.
//!
//! A stand-in promises no more than the documentation of its crate: where the documentation gives
//! no order, a value may be stale. The contents of a stand-in are behind a standard mutex, which
//! loom does not see. They change together with one atomic, which loom does see: loom switches
//! threads before its own operations and nowhere else.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock as StdOnceLock;
use std::sync::{Arc, LockResult, TryLockError, TryLockResult};
use std::sync::{Mutex as StdMutex, MutexGuard as StdMutexGuard, PoisonError};
use std::task::Waker;

pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

fn unseen<T>(mutex: &StdMutex<T>) -> StdMutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stands in for the standard `AtomicBool`; a store is a swap. Loom would let a load see the value
/// of a swap after a store that the swap had not seen, although a swap directly follows the value
/// that it has seen.
#[derive(Debug)]
pub(crate) struct AtomicBool(loom::sync::atomic::AtomicBool);

impl AtomicBool {
    pub(crate) fn new(value: bool) -> Self {
        Self(loom::sync::atomic::AtomicBool::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> bool {
        self.0.load(order)
    }

    pub(crate) fn store(&self, value: bool, order: Ordering) {
        self.swap(value, order);
    }

    pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
        self.0.swap(value, order)
    }
}

/// Stands in for the standard `Mutex`, with an operation before each `try_lock` and each unlock.
/// Loom switches threads before neither, so a `try_lock` would hardly ever find the mutex locked.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T> {
    steps: AtomicUsize,
    real: loom::sync::Mutex<T>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { steps: AtomicUsize::new(0), real: loom::sync::Mutex::new(value) }
    }

    fn guard<'a>(&'a self, real: loom::sync::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        MutexGuard { steps: &self.steps, real }
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        match self.real.lock() {
            Ok(real) => Ok(self.guard(real)),
            Err(poisoned) => Err(PoisonError::new(self.guard(poisoned.into_inner()))),
        }
    }

    pub(crate) fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        self.steps.fetch_add(1, Ordering::Relaxed);
        match self.real.try_lock() {
            Ok(real) => Ok(self.guard(real)),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }
}

pub(crate) struct MutexGuard<'a, T> {
    steps: &'a AtomicUsize,
    real: loom::sync::MutexGuard<'a, T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.real
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.real
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }
}

/// Stands in for crossbeam's queue: a FIFO, in which a push happens before its pop. Whether the
/// queue is empty may be stale, and so may the result of a pop, unless something else orders the
/// two. (The real queue uses `SeqCst` operations here, but does not promise them.)
#[derive(Debug)]
pub(crate) struct SegQueue<T> {
    head: AtomicUsize,
    tail: AtomicUsize,
    entries: StdMutex<VecDeque<T>>,
}

impl<T> SegQueue<T> {
    pub(crate) fn new() -> Self {
        let [head, tail] = [0; 2].map(AtomicUsize::new);
        Self { head, tail, entries: StdMutex::new(VecDeque::new()) }
    }

    pub(crate) fn push(&self, entry: T) {
        self.tail.fetch_add(1, Ordering::AcqRel);
        unseen(&self.entries).push_back(entry);
    }

    pub(crate) fn pop(&self) -> Option<T> {
        loop {
            let head = self.head.load(Ordering::Acquire);
            if head == self.tail.load(Ordering::Acquire) {
                return None;
            }
            let taken =
                self.head.compare_exchange(head, head + 1, Ordering::AcqRel, Ordering::Acquire);
            if taken.is_ok() {
                return unseen(&self.entries).pop_front();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        let head = self.head.load(Ordering::Acquire);
        self.tail.load(Ordering::Acquire) - head
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Stands in for arc-swap's: a load `Acquire`s what was stored with `Release`, and may be stale. An
/// exchange sees the newest value.
pub(crate) struct ArcSwap<T> {
    /// The index of the current value in `all`.
    current: AtomicUsize,
    all: StdMutex<Vec<Arc<T>>>,
}

impl<T> ArcSwap<T> {
    pub(crate) fn from_pointee(value: T) -> Self {
        Self { current: AtomicUsize::new(0), all: StdMutex::new(vec![Arc::new(value)]) }
    }

    pub(crate) fn load(&self) -> Arc<T> {
        let current = self.current.load(Ordering::Acquire);
        unseen(&self.all)[current].clone()
    }

    pub(crate) fn load_full(&self) -> Arc<T> {
        self.load()
    }

    pub(crate) fn compare_and_swap(&self, known: &Arc<T>, new: Arc<T>) -> Arc<T> {
        let (at, next) = {
            let mut all = unseen(&self.all);
            all.push(new);
            (all.iter().position(|value| Arc::ptr_eq(value, known)), all.len() - 1)
        };
        let at = at.unwrap_or(usize::MAX);
        let before = self.current.compare_exchange(at, next, Ordering::AcqRel, Ordering::Acquire);
        unseen(&self.all)[before.unwrap_or_else(|current| current)].clone()
    }
}

/// Stands in for that of the crate atomic-waker, with its signatures. As it promises, `register`
/// sees what happened before a `wake` that came too early.
#[derive(Debug)]
pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

impl AtomicWaker {
    pub(crate) fn new() -> Self {
        Self(loom::future::AtomicWaker::new())
    }

    pub(crate) fn register(&self, waker: &Waker) {
        self.0.register_by_ref(waker);
    }

    pub(crate) fn wake(&self) {
        self.0.wake();
    }
}

/// Stands in for that of once_cell: `get` may be stale. Whoever sees the value sees what happened
/// before it was set.
pub(crate) struct OnceBox<T> {
    is_set: AtomicBool,
    value: StdOnceLock<Box<T>>,
}

impl<T> OnceBox<T> {
    pub(crate) fn new() -> Self {
        Self { is_set: AtomicBool::new(false), value: StdOnceLock::new() }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        let value = self.is_set.load(Ordering::Acquire).then(|| self.value.get()).flatten();
        value.map(|value| &**value)
    }

    pub(crate) fn set(&self, value: Box<T>) -> Result<(), Box<T>> {
        self.is_set.swap(true, Ordering::AcqRel);
        self.value.set(value)
    }

    pub(crate) fn get_or_init(&self, init: impl FnOnce() -> Box<T>) -> &T {
        self.is_set.swap(true, Ordering::AcqRel);
        self.value.get_or_init(init)
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
