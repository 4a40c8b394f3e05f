//! Futures of this crate that are awaited in executors of any kind.
//!
//! What they wait for is often a shard, or another task of the hub, which wakes them. A waker is code of the
//! executor: where it panics, the panic must stay with whoever waits, and not end the task that wakes.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

/// Awaits `future` with a waker that does not panic. Costs an allocation, so it is for what waits rarely.
pub(crate) async fn shielded<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut shield: Option<(Waker, Waker)> = None;
    poll_fn(|cx| {
        let known = shield.take().filter(|(waker, _)| waker.will_wake(cx.waker()));
        let (_, shielded) = shield.insert(known.unwrap_or_else(|| {
            let waker = cx.waker().clone();
            (waker.clone(), Arc::new(Shield(waker)).into())
        }));
        future.as_mut().poll(&mut Context::from_waker(shielded))
    })
    .await
}

/// A waker that keeps the panic of another to itself.
struct Shield(Waker);

impl Wake for Shield {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The panic hook has told of it.
        let _ = catch_unwind(AssertUnwindSafe(|| self.0.wake_by_ref()));
    }
}
