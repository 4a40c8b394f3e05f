//! The bell: publishers wait on it for space in an inbox.
//!
//! `Notify` is tokio's own, with a step of loom before each call (`src/runtime/notify`).

use std::pin::pin;
use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread::{self, JoinHandle};
use roomcast::engine::{Congestion, Inbox, InboxLimits};
use roomcast::internals::parts::Bell;

use super::{check_within, sleep_until};

const LIMITS: InboxLimits = InboxLimits { messages: 2, bytes: 100 };

fn spawn_waiter(
    bell: &Arc<Bell>,
    is_congested: impl Fn() -> bool + Send + 'static,
) -> JoinHandle<()> {
    let bell = bell.clone();
    thread::spawn(move || {
        let mut waiting = pin!(bell.until(|| !is_congested()));
        sleep_until(|cx| waiting.as_mut().poll(cx).is_ready());
    })
}

/// Guards the fence in `ring`, the fence in `until_some`, and that the attempt comes after the fence.
#[test]
fn waiters_are_woken_when_there_is_space() {
    check_within(3, || {
        let bell = Arc::new(Bell::default());
        let is_congested = Arc::new(AtomicBool::new(true));
        let waiters = [(); 2].map(|()| {
            let is_congested = is_congested.clone();
            spawn_waiter(&bell, move || is_congested.load(Ordering::Relaxed))
        });
        is_congested.store(false, Ordering::Relaxed);
        bell.ring();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

/// Guards the ring of a shard's driver before it sleeps: a publisher that gives space back wakes the
/// driver, or has given the space back in time for the driver to see it.
#[test]
fn waiter_is_woken_when_a_publisher_gives_space_back() {
    check_within(2, || {
        let bell = Arc::new(Bell::default());
        let congestion = Arc::new(Congestion::new());
        let inbox = Arc::new(Inbox::<()>::new(LIMITS).with_congestion(congestion.clone()));
        assert!(inbox.reserve(90).is_ok());
        let waiter = {
            let inbox = inbox.clone();
            spawn_waiter(&bell, move || congestion.is_likely() && inbox.is_congested())
        };
        let publisher = {
            let inbox = inbox.clone();
            thread::spawn(move || inbox.give_back(1, 90))
        };
        sleep_until(|cx| {
            assert!(inbox.poll_filled(cx).is_pending(), "nothing was pushed");
            let has_space = !inbox.is_congested();
            if has_space {
                bell.ring();
            }
            has_space
        });
        waiter.join().unwrap();
        publisher.join().unwrap();
    });
}
