//! A channel whose subscription is released while a room of the channel is created.

use std::pin::pin;
use std::sync::Arc;

use loom::thread::{self, JoinHandle};
use roomcast::internals::parts::Interest;

use super::{check, check_within, wait_for};

const ROOM: &str = "r";

/// A node that is subscribed to the channel of a room that no longer exists.
fn subscribed_in_vain() -> Arc<Interest> {
    let interest = Interest::new();
    interest.made(ROOM);
    interest.follow(ROOM);
    interest.gone(ROOM);
    // Consume the ring of the first room.
    assert!(is_rung(&interest));
    Arc::new(interest)
}

/// Whether a channel is newly wanted, as the subscribing task asks.
fn is_rung(interest: &Interest) -> bool {
    let mut changed = pin!(interest.changed());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    changed.as_mut().poll(&mut cx).is_ready()
}

/// Guards the fence in `made` against the fence in `release`, that `release` takes the channel back, and the ring in
/// `made`.
#[test]
fn a_room_that_is_made_during_a_release_has_its_channel() {
    check(|| {
        let interest = subscribed_in_vain();
        let maker = {
            let interest = interest.clone();
            thread::spawn(move || interest.made(ROOM))
        };
        let is_released = interest.release(ROOM);
        maker.join().unwrap();
        if interest.is_subscribed(ROOM) {
            assert!(!is_released, "the channel is unsubscribed, but looks subscribed");
        } else {
            assert!(interest.is_wanted(ROOM), "the channel is lost");
            assert!(is_rung(&interest), "the subscribing task sleeps");
        }
    });
}

/// Guards the same for two rooms of a channel, of which one is removed again.
#[test]
fn a_channel_stays_for_the_room_that_stays() {
    check_within(3, || {
        let interest = subscribed_in_vain();
        let staying = {
            let interest = interest.clone();
            thread::spawn(move || interest.made(ROOM))
        };
        let flapping = {
            let interest = interest.clone();
            thread::spawn(move || {
                interest.made(ROOM);
                interest.gone(ROOM);
            })
        };
        let is_released = interest.release(ROOM);
        staying.join().unwrap();
        flapping.join().unwrap();
        if interest.is_subscribed(ROOM) {
            assert!(!is_released, "the channel is unsubscribed, but looks subscribed");
        } else {
            assert!(interest.is_wanted(ROOM) && is_rung(&interest));
        }
    });
}

/// Runs as the subscribing task until the channel is subscribed: after each wake-up it subscribes to wanted channels.
fn subscribe(interest: &Interest) {
    while !interest.is_subscribed(ROOM) {
        wait_for(interest.changed());
        interest.follow(ROOM);
    }
}

/// Starts a thread that makes the room, and waits until its channel is subscribed.
fn join(interest: &Arc<Interest>) -> JoinHandle<()> {
    let interest = interest.clone();
    thread::spawn(move || {
        interest.made(ROOM);
        wait_for(interest.subscribed_to(ROOM));
    })
}

/// Guards the rings of `release`, of `made` and of an acknowledgement, and that a wait registers before it checks.
#[test]
fn wait_for_a_subscription_is_woken_whatever_the_release_does() {
    check_within(3, || {
        let interest = subscribed_in_vain();
        let joiner = join(&interest);
        interest.release(ROOM);
        subscribe(&interest);
        joiner.join().unwrap();
        assert!(interest.is_subscribed(ROOM));
    });
}

/// Guards the ring after a subscription that was lost and made again.
#[test]
fn wait_for_a_lost_subscription_is_woken_when_it_is_restored() {
    check_within(3, || {
        let interest = subscribed_in_vain();
        let joiner = join(&interest);
        interest.lose(ROOM);
        interest.follow(ROOM);
        joiner.join().unwrap();
        assert!(interest.is_subscribed(ROOM));
    });
}
