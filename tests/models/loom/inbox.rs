//! The inbox: sleep, wake-up, and close.

use std::iter;
use std::sync::Arc;

use loom::thread;
use roomcast::engine::{Congestion, Inbox, InboxLimits};

use super::{check, check_within, sleep_until};

const LIMITS: InboxLimits = InboxLimits { messages: 2, bytes: 100 };

/// Guards the fence in `wake` against the fence in `poll_filled`, and the second check in `poll_filled`.
#[test]
fn consumer_does_not_sleep_over_a_push() {
    check_within(3, || {
        let inbox = Arc::new(Inbox::new(LIMITS));
        let producers = [1, 2].map(|number| {
            let inbox = inbox.clone();
            thread::spawn(move || inbox.push(number))
        });
        let mut popped = Vec::new();
        while popped.len() < 2 {
            sleep_until(|cx| inbox.poll_filled(cx).is_ready());
            popped.extend(iter::from_fn(|| inbox.pop()));
        }
        popped.sort_unstable();
        assert_eq!(popped, [1, 2]);
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

/// Guards that only a producer that pushed in time may skip the wake-up: the consumer sleeps again and again.
#[test]
fn a_consumer_that_sleeps_between_two_pushes_of_one_producer_is_woken_for_both() {
    check_within(3, || {
        let inbox = Arc::new(Inbox::new(LIMITS));
        let producer = {
            let inbox = inbox.clone();
            thread::spawn(move || [1, 2].map(|number| inbox.push(number)))
        };
        for number in [1, 2] {
            sleep_until(|cx| inbox.poll_filled(cx).is_ready());
            assert_eq!(inbox.pop(), Some(number));
        }
        producer.join().unwrap();
    });
}

/// Guards the wake-up of `give_back`, and its fence: a consumer that goes to sleep sees the released space, or is
/// woken to see it.
#[test]
fn released_space_is_seen_by_a_consumer_that_goes_to_sleep() {
    check(|| {
        let inbox = Arc::new(Inbox::<()>::new(LIMITS));
        assert!(inbox.reserve(90).is_ok());
        let producer = {
            let inbox = inbox.clone();
            thread::spawn(move || inbox.give_back(1, 90))
        };
        sleep_until(|cx| {
            let is_filled = inbox.poll_filled(cx).is_ready();
            assert!(!is_filled, "nothing was pushed");
            !inbox.is_congested()
        });
        producer.join().unwrap();
    });
}

/// Guards the fence in `close` against the fence in `wake`, and the check of `closed` after a push.
#[test]
fn nothing_stays_in_a_closed_inbox() {
    check_within(3, || {
        let inbox = Arc::new(Inbox::new(LIMITS));
        let command = Arc::new(());
        let producers = [(); 2].map(|()| {
            let (inbox, command) = (inbox.clone(), command.clone());
            thread::spawn(move || inbox.push(command))
        });
        inbox.close();
        for producer in producers {
            producer.join().unwrap();
        }
        assert_eq!(inbox.len(), 0);
        assert_eq!(Arc::strong_count(&command), 1, "the pushed command is dropped");
    });
}

/// Guards the hint of congestion: each call that moves a count across half of its bound updates the hint, also a call
/// that gives back a refused reservation. When all calls have returned, the hint is right.
#[test]
fn congestion_is_signalled_by_the_call_that_crosses_half() {
    check_within(3, || {
        let congestion = Arc::new(Congestion::new());
        let inbox = Arc::new(Inbox::<()>::new(LIMITS).with_congestion(congestion.clone()));
        assert!(inbox.reserve(40).is_ok());
        let publishers = [20, 80].map(|bytes| {
            let inbox = inbox.clone();
            thread::spawn(move || inbox.reserve(bytes).is_ok())
        });
        inbox.release(1, 40);
        for publisher in publishers {
            publisher.join().unwrap();
        }
        assert_eq!(congestion.is_likely(), inbox.is_congested());
    });
}
