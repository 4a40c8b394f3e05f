//! Work that rests: its task ends while the work has nothing to do, and begins anew when the work is
//! woken.
//!
//! A waiting task of tokio takes at least 256 bytes. Resting work takes the bytes of the work, and
//! 40 more.
//!
//! How to rest: make a [`Bed`], poll the work with the waker of the bed, and, if the work is
//! pending, put it into the bed ([`rest`](Bed::rest)). No wake is lost:
//! - A wake before the work is in the bed is noted, and `rest` begins a task at once.
//! - The first wake after that begins a task. From then on the waker of the bed does nothing, and
//!   the work must be polled with the waker of the new task.
//!
//! If the runtime has ended, the first wake drops the work. So whoever wakes may run the `Drop` of
//! the work.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use tokio::runtime::Handle;

/// Work that a new task can continue.
pub(crate) trait Resume: Send + 'static {
    /// The future of that task.
    fn resume(self) -> impl Future<Output = ()> + Send + 'static;
}

/// The place where work rests. Its waker owns it, so the work lives as long as something can wake
/// it.
pub(crate) struct Bed<W> {
    /// The runtime of the task that has made this.
    runtime: Handle,
    state: Mutex<State<W>>,
}

enum State<W> {
    /// The work is not in the bed yet.
    Empty,
    /// The work is in the bed.
    Resting(W),
    /// The waker was woken. The work is not in the bed, and will not be.
    Woken,
}

impl<W: Resume> Bed<W> {
    /// Makes a bed for work of the current task.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { runtime: Handle::current(), state: Mutex::new(State::Empty) })
    }

    /// Poll the work with this waker. If the work is pending, it may rest.
    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        self.clone().into()
    }

    /// Keeps `work` until the waker is woken. The caller's task must end.
    pub(crate) fn rest(&self, work: W) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Empty = *state {
            *state = State::Resting(work);
        } else {
            drop(state);
            self.begin(work);
        }
    }

    fn begin(&self, work: W) {
        self.runtime.spawn(work.resume());
    }
}

impl<W: Resume> Wake for Bed<W> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = mem::replace(&mut *state, State::Woken);
        drop(state);
        if let State::Resting(work) = before {
            // If the runtime is gone, this drops the work, which may panic. The panic hook has
            // reported the panic; it must not reach the waking task.
            let _ = catch_unwind(AssertUnwindSafe(|| self.begin(work)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::mpsc;

    use super::*;

    /// Work that tells when a task goes on with it, and how often it was dropped.
    struct Work {
        resumed: mpsc::UnboundedSender<()>,
        drops: Arc<AtomicUsize>,
    }

    impl Resume for Work {
        async fn resume(self) {
            self.resumed.send(()).expect("the test waits");
        }
    }

    impl Drop for Work {
        fn drop(&mut self) {
            self.drops.fetch_add(1, Ordering::Relaxed);
        }
    }

    type Parts = (Work, mpsc::UnboundedReceiver<()>, Arc<AtomicUsize>);

    fn work() -> Parts {
        let (resumed, events) = mpsc::unbounded_channel();
        let drops = Arc::new(AtomicUsize::new(0));
        (Work { resumed, drops: drops.clone() }, events, drops)
    }

    #[tokio::test]
    async fn first_wake_begins_a_task_and_later_wakes_do_nothing() {
        let (work, mut events, drops) = work();
        let bed = Bed::new();
        let waker = bed.waker();
        bed.rest(work);
        tokio::task::yield_now().await;
        assert_eq!(drops.load(Ordering::Relaxed), 0, "it rests");
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(events.recv().await, Some(()));
        waker.wake();
        assert_eq!(events.recv().await, None, "one task");
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn work_that_was_woken_before_it_rests_goes_on_at_once() {
        let (work, mut events, _) = work();
        let bed = Bed::new();
        bed.waker().wake();
        bed.rest(work);
        assert_eq!(events.recv().await, Some(()));
    }

    #[tokio::test]
    async fn work_that_nothing_can_wake_is_dropped() {
        let (work, mut events, drops) = work();
        let bed = Bed::new();
        let waker = bed.waker();
        bed.rest(work);
        drop((bed, waker));
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert_eq!(events.recv().await, None);
    }

    #[test]
    fn wake_after_the_end_of_the_runtime_drops_the_work() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (work, mut events, drops) = work();
        let waker = runtime.block_on(async {
            let bed = Bed::new();
            let waker = bed.waker();
            bed.rest(work);
            waker
        });
        drop(runtime);
        assert_eq!(drops.load(Ordering::Relaxed), 0);
        waker.wake();
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert!(events.try_recv().is_err(), "no task has begun");
    }
}
