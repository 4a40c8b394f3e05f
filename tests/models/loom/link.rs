//! The link of a connection: how the end of the connection reaches the tasks that wait for it.

use std::sync::Arc;

use loom::thread;
use roomcast::engine::parts::{advance, finish, remove_waiting, reserve_waiting};
use roomcast::engine::{ConnKey, DisconnectReason, Link, Stage};

use super::{check, check_within, sleep_until};

fn link() -> Arc<Link> {
    Arc::new(Link::new(ConnKey::new(1, 0)))
}

/// The calls of the shard: the end, and the next stage when the close frame is sent.
fn spawn_end(link: &Arc<Link>) -> thread::JoinHandle<()> {
    let link = link.clone();
    thread::spawn(move || {
        finish(&link, DisconnectReason::Idle, Vec::new());
        advance(&link, Stage::Flushed);
    })
}

/// Waits for the end as a task with a handle does.
fn wait_beside_others(link: &Link, stage: Stage) {
    let mut place = None;
    sleep_until(|cx| {
        let before = place.replace(link.watch(cx.waker()));
        if let Some(before) = before {
            link.stop_watching(before);
        }
        link.stage() >= stage
    });
    link.stop_watching(place.expect("was polled"));
}

/// Guards "set the end, then the stage" in `finish`, and `Release` with `Acquire` on the stage.
#[test]
fn thread_that_sees_the_stage_sees_the_end() {
    check(|| {
        let link = link();
        let shard = spawn_end(&link);
        if link.stage() > Stage::Open {
            let end = link.end().expect("set before the stage moved");
            assert_eq!(end.reason, DisconnectReason::Idle);
        }
        shard.join().unwrap();
    });
}

/// Guards the wake-up of the session in `advance`, after the stage.
#[test]
fn the_session_is_woken_for_each_stage() {
    check(|| {
        let link = link();
        let shard = spawn_end(&link);
        for stage in [Stage::Ended, Stage::Flushed] {
            sleep_until(|cx| {
                link.watch_stage(cx.waker());
                link.stage() >= stage
            });
            assert!(link.end().is_some());
        }
        shard.join().unwrap();
    });
}

/// Guards the fence in `watch` against the fence in `wake_others`.
#[test]
fn first_watcher_beside_the_session_is_woken() {
    check(|| {
        let link = link();
        let shard = {
            let link = link.clone();
            thread::spawn(move || finish(&link, DisconnectReason::Idle, Vec::new()))
        };
        wait_beside_others(&link, Stage::Ended);
        shard.join().unwrap();
    });
}

/// Guards the one list of all watchers, and that no watcher replaces another.
#[test]
fn two_watchers_beside_the_session_are_both_woken() {
    check_within(3, || {
        let link = link();
        let watcher = {
            let link = link.clone();
            thread::spawn(move || wait_beside_others(&link, Stage::Ended))
        };
        let shard = {
            let link = link.clone();
            thread::spawn(move || finish(&link, DisconnectReason::Idle, Vec::new()))
        };
        wait_beside_others(&link, Stage::Ended);
        watcher.join().unwrap();
        shard.join().unwrap();
    });
}

/// Waits for space as a sender does, and takes it.
fn send_when_there_is_space(link: &Link, bytes: usize, bytes_max: usize) {
    while !reserve_waiting(link, bytes, bytes_max) {
        let mut place = None;
        sleep_until(|cx| {
            if let Some(before) = place.replace(link.watch(cx.waker())) {
                link.stop_watching(before);
            }
            link.has_space(bytes, bytes_max)
        });
        link.stop_watching(place.expect("was polled"));
    }
}

/// Guards the fence in `watch` against the fence in `wake_others` for a sender, and that two senders do not take the
/// same space.
#[test]
fn sender_that_waits_for_space_is_woken_and_takes_at_most_the_free_space() {
    check_within(3, || {
        let link = link();
        assert!(reserve_waiting(&link, 2, 2));
        let senders = [(); 2].map(|()| {
            let link = link.clone();
            thread::spawn(move || {
                send_when_there_is_space(&link, 2, 2);
                assert_eq!(link.waiting(), 2);
                remove_waiting(&link, 2);
            })
        });
        remove_waiting(&link, 2);
        for sender in senders {
            sender.join().unwrap();
        }
        assert_eq!(link.waiting(), 0);
    });
}
