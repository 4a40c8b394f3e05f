//! The index of rooms: publication, claims and removal.

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use roomcast::engine::parts::unclaim;
use roomcast::engine::{Room, RoomIndex, RoomWatch};

use super::{check, check_within};

/// Counts rooms with relaxed atomics, so only the index can order the counts that a thread sees.
struct Watch {
    made: AtomicUsize,
    gone: AtomicUsize,
}

impl Watch {
    fn new() -> Arc<Self> {
        Arc::new(Self { made: AtomicUsize::new(0), gone: AtomicUsize::new(0) })
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    fn gone(&self) -> usize {
        self.gone.load(Ordering::Relaxed)
    }
}

impl RoomWatch for Watch {
    fn made(&self, _: &str) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    fn gone(&self, _: &str) {
        self.gone.fetch_add(1, Ordering::Relaxed);
    }
}

fn claim(index: &RoomIndex, name: &str) -> Arc<Room> {
    index.claim(name).expect("no bound")
}

/// Guards the check for `RETIRED` in `claim`, the exchange in `unclaim`, the insertion over a retired room, and the
/// check in `remove` that the index still holds the same room.
#[test]
fn a_claimed_room_is_found_whatever_the_shard_removes() {
    check_within(3, || {
        let watch = Watch::new();
        let index = Arc::new(RoomIndex::new().with_watch(watch.clone()));
        let last = claim(&index, "r");
        let joiners = [(); 2].map(|()| {
            let index = index.clone();
            thread::spawn(move || {
                let room = claim(&index, "r");
                let found = index.find("r").expect("a claimed room is in the index");
                assert!(Arc::ptr_eq(&found, &room), "and is the one that was claimed");
                assert!(room.members() > 0);
                room
            })
        });
        unclaim(&index, &last);
        for joiner in joiners {
            let room = joiner.join().unwrap();
            let found = index.find("r").expect("the room stays until it is released");
            assert!(Arc::ptr_eq(&found, &room));
            unclaim(&index, &room);
        }
        assert!(index.is_empty());
        assert_eq!(watch.made(), watch.gone());
    });
}

/// Guards the retries of `claim` and `remove` when another thread has swapped the snapshot meanwhile.
#[test]
fn rooms_that_come_and_go_beside_one_another_are_not_lost() {
    check_within(3, || {
        let watch = Watch::new();
        let index = Arc::new(RoomIndex::new().with_watch(watch.clone()));
        let leaving = claim(&index, "leaving");
        let joiners = ["one", "two"].map(|name| {
            let index = index.clone();
            thread::spawn(move || claim(&index, name))
        });
        unclaim(&index, &leaving);
        let rooms = joiners.map(|joiner| joiner.join().unwrap());
        assert!(index.find("leaving").is_none());
        for room in &rooms {
            let found = index.find(room.name()).expect("the claimed room");
            assert!(Arc::ptr_eq(&found, room));
            assert!(unclaim(&index, room));
        }
        assert!(index.is_empty());
        assert_eq!((watch.made(), watch.gone()), (3, 3));
    });
}

/// Guards the order "exchange, then return" in `claim`, on which joins rely.
#[test]
fn thread_that_learns_of_a_join_finds_the_room() {
    check(|| {
        let index = Arc::new(RoomIndex::new());
        let last = claim(&index, "r");
        let is_told = Arc::new(AtomicBool::new(false));
        let joiner = {
            let (index, is_told) = (index.clone(), is_told.clone());
            thread::spawn(move || {
                claim(&index, "r");
                is_told.store(true, Ordering::Release);
            })
        };
        let publisher = {
            let index = index.clone();
            thread::spawn(move || {
                if is_told.load(Ordering::Acquire) {
                    let room = index.find("r").expect("the room that was joined");
                    assert!(room.members() > 0);
                }
            })
        };
        unclaim(&index, &last);
        joiner.join().unwrap();
        publisher.join().unwrap();
    });
}

/// Guards the order "notify the watch, then exchange" in `claim`.
#[test]
fn room_that_is_found_was_announced() {
    check(|| {
        let watch = Watch::new();
        let index = Arc::new(RoomIndex::new().with_watch(watch.clone()));
        let joiner = {
            let index = index.clone();
            thread::spawn(move || claim(&index, "r"))
        };
        if index.find("r").is_some() {
            assert_eq!(watch.made(), 1);
        }
        let room = joiner.join().unwrap();
        assert!(unclaim(&index, &room));
        assert_eq!((watch.made(), watch.gone()), (1, 1));
    });
}
