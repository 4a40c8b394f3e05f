//! A shield against wakers that panic, for futures of this crate that any executor may await.
//!
//! A shard or another task of the hub often wakes these futures. A waker is code of the executor
//! that awaits. If the waker panics, the panic must not end the task of the hub.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

/// Awaits `future` with a waker that does not panic. Cost: one allocation, so it is for futures
/// that seldom wait.
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

/// A waker that catches the panics of another waker.
struct Shield(Waker);

impl Wake for Shield {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The panic hook has already reported the panic.
        let _ = catch_unwind(AssertUnwindSafe(|| self.0.wake_by_ref()));
    }
}
