//! Waiting for room in an inbox.
//!
//! The counting and the fences are modelled. Tokio's `Notify` is the real one, with a step that loom sees before each
//! call (`src/runtime/notify`).

use std::pin::pin;
use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread::{self, JoinHandle};
use roomcast::engine::{Congestion, Inbox, InboxLimits};
use roomcast::internals::parts::Relief;

use super::{check_within, sleep_until};

const LIMITS: InboxLimits = InboxLimits { messages: 2, bytes: 100 };

fn spawn_waiter(
    relief: &Arc<Relief>,
    is_congested: impl Fn() -> bool + Send + 'static,
) -> JoinHandle<()> {
    let relief = relief.clone();
    thread::spawn(move || {
        let mut waiting = pin!(relief.until(|| (!is_congested()).then_some(())));
        sleep_until(|cx| waiting.as_mut().poll(cx).is_ready());
    })
}

/// Guards the fence in `ring` against the one in `until`, and that it tries behind it.
#[test]
fn who_waits_for_room_is_told_when_there_is_some() {
    check_within(3, || {
        let relief = Arc::new(Relief::default());
        let is_congested = Arc::new(AtomicBool::new(true));
        let waiters = [(); 2].map(|()| {
            let is_congested = is_congested.clone();
            spawn_waiter(&relief, move || is_congested.load(Ordering::Relaxed))
        });
        is_congested.store(false, Ordering::Relaxed);
        relief.ring();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

/// Guards what the driver of a shard does before it sleeps: a publisher that gives room back then
/// wakes it, or has given it back in time to be seen.
#[test]
fn who_waits_is_told_of_room_that_a_publisher_gives_back() {
    check_within(2, || {
        let relief = Arc::new(Relief::default());
        let congestion = Arc::new(Congestion::new());
        let inbox = Arc::new(Inbox::<()>::new(LIMITS).telling(congestion.clone()));
        assert!(inbox.reserve(90).is_ok());
        let waiter = {
            let inbox = inbox.clone();
            spawn_waiter(&relief, move || congestion.is_likely() && inbox.is_congested())
        };
        let publisher = {
            let inbox = inbox.clone();
            thread::spawn(move || inbox.give_back(1, 90))
        };
        sleep_until(|cx| {
            assert!(inbox.poll_filled(cx).is_pending(), "nothing was pushed");
            let has_room = !inbox.is_congested();
            if has_room {
                relief.ring();
            }
            has_room
        });
        waiter.join().unwrap();
        publisher.join().unwrap();
    });
}
