//! Sleep and wake-up for models, because the executors of the model checkers do not suit. Loom's executor also wakes
//! without cause, which only adds interleavings. Shuttle's executor forgets a wake-up that comes before the future
//! takes a lock.

use std::mem;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

#[cfg(roomcast_loom)]
use loom::sync::{Condvar, Mutex};
#[cfg(roomcast_shuttle)]
use shuttle::sync::{Condvar, Mutex};

#[derive(Default)]
struct Alarm {
    rings: Mutex<bool>,
    bell: Condvar,
}

impl Alarm {
    fn wait(&self) {
        let mut rings = self.rings.lock().unwrap();
        while !mem::take(&mut *rings) {
            rings = self.bell.wait(rings).unwrap();
        }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        *self.rings.lock().unwrap() = true;
        self.bell.notify_one();
    }
}

/// Sleeps until `is_so` returns true. Each wake-up of the waker calls `is_so` again. If no thread calls the waker, the
/// checker reports a deadlock.
pub(crate) fn sleep_until(mut is_so: impl FnMut(&mut Context<'_>) -> bool) {
    let alarm = Arc::new(Alarm::default());
    let waker = Waker::from(alarm.clone());
    while !is_so(&mut Context::from_waker(&waker)) {
        alarm.wait();
    }
}
