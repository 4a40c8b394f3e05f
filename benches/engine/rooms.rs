//! The cost of calls on a hub with a million rooms.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use crossbeam_queue::SegQueue;
use roomcast::engine::RoomIndex;

use crate::hub::{Hub, frame_of, message, room_names};
use crate::timing::{ROUND, time_calls};

const ROOMS: usize = 1_000_000;

/// A room in the map for comparison: it counts its members.
type PlainRoom = Arc<AtomicU32>;

type PlainMap = HashMap<String, PlainRoom>;

/// A map that is built only if a benchmark that uses it runs.
type LazyMap = LazyCell<RwLock<PlainMap>>;

fn plain_map() -> PlainMap {
    room_names(ROOMS).into_iter().map(|name| (name, PlainRoom::default())).collect()
}

/// Names of rooms in random order; so many that the rooms are seldom in a core's own cache.
struct Names(Vec<String>);

impl Names {
    /// Names that begin with `stem`. The names of existing rooms begin with "room".
    fn new(stem: &str) -> Self {
        let mut names: Vec<_> = (0..ROOMS).step_by(15).map(|at| format!("{stem}{at}")).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut names);
        Self(names)
    }

    fn get(&self, thread: usize, number: usize) -> &str {
        let at = number + thread * self.0.len() / 2;
        black_box(&self.0[at % self.0.len()])
    }
}

/// Measures the look-up of one of a million rooms by its name.
pub(crate) fn finding(c: &mut Criterion) {
    let mut group = c.benchmark_group("find one of 1000000 rooms");
    let names = Names::new("room");
    let index = LazyCell::new(|| {
        let index = RoomIndex::new();
        room_names(ROOMS).iter().for_each(|name| drop(index.claim(name).unwrap()));
        index
    });
    let mutex = LazyCell::new(|| Mutex::new(plain_map()));
    let rw_lock = LazyCell::new(|| RwLock::new(plain_map()));
    for threads in [1, 2] {
        group.throughput(Throughput::Elements(threads as u64));
        group.bench_function(format!("roomcast, threads: {threads}"), |b| {
            let index = &*index;
            let find = |thread, number| drop(black_box(index.find(names.get(thread, number))));
            b.iter_custom(|calls| time_calls(threads, calls, find, |_| {}));
        });
        group.bench_function(format!("Mutex<HashMap>, threads: {threads}"), |b| {
            let map = &*mutex;
            let find = |thread, number| {
                let map = map.lock().expect("no thread panics");
                drop(black_box(map.get(names.get(thread, number)).cloned()));
            };
            b.iter_custom(|calls| time_calls(threads, calls, find, |_| {}));
        });
        group.bench_function(format!("RwLock<HashMap>, threads: {threads}"), |b| {
            let map = &*rw_lock;
            let find = |thread, number| {
                let map = map.read().expect("no thread panics");
                drop(black_box(map.get(names.get(thread, number)).cloned()));
            };
            b.iter_custom(|calls| time_calls(threads, calls, find, |_| {}));
        });
    }
    group.finish();
}

/// A hub with a thousand connections, each in a thousand rooms.
fn crowded() -> Hub {
    let mut hub = Hub::new(1, ROOMS / 1_000);
    for (room, name) in room_names(ROOMS).iter().enumerate() {
        hub.front.join(room % hub.front.links.len(), name);
    }
    hub.shards.run();
    hub
}

/// Measures joins and publishes on a hub with a million rooms.
pub(crate) fn using(c: &mut Criterion) {
    let mut hub = None;
    let map = LazyMap::new(|| RwLock::new(plain_map()));
    making(c, &mut hub, &map);
    publishing(c, &mut hub, &map);
}

/// Measures a join that creates a room: the call adds the name to the index, and pushes a command. For
/// comparison: an insertion into a map.
fn making(c: &mut Criterion, hub: &mut Option<Hub>, map: &LazyMap) {
    let mut group = c.benchmark_group("make a room beside 1000000 others");
    let names = Names::new("fresh");
    for threads in [1, 2] {
        group.throughput(Throughput::Elements(threads as u64));
        group.bench_function(format!("roomcast, threads: {threads}"), |b| {
            let Hub { front, shards } = hub.get_or_insert_with(crowded);
            let connection = |thread, number| thread * ROUND + number % ROUND;
            let make = |thread, number| {
                front.join(connection(thread, number), names.get(thread, number));
            };
            b.iter_custom(|calls| {
                time_calls(threads, calls, make, |numbers| {
                    shards.run();
                    for (thread, number) in calls_of(threads, numbers) {
                        front.leave(connection(thread, number), names.get(thread, number));
                    }
                    shards.run();
                })
            });
        });
        group.bench_function(format!("RwLock<HashMap>, threads: {threads}"), |b| {
            let map = &**map;
            let make = |thread, number| {
                let mut map = map.write().expect("no thread panics");
                let room = map.entry(names.get(thread, number).to_owned()).or_default();
                room.fetch_add(1, Ordering::Relaxed);
            };
            b.iter_custom(|calls| {
                time_calls(threads, calls, make, |numbers| {
                    let mut map = map.write().expect("no thread panics");
                    for (thread, number) in calls_of(threads, numbers) {
                        map.remove(names.get(thread, number));
                    }
                })
            });
        });
    }
    group.finish();
}

/// The calls of a round, as pairs of thread and number.
fn calls_of(threads: usize, numbers: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    (0..threads).flat_map(move |thread| numbers.clone().map(move |number| (thread, number)))
}

/// Measures the call that publishes to one of the rooms. For comparison: a look-up in a map behind a lock,
/// and a push of frame and room onto a queue.
fn publishing(c: &mut Criterion, hub: &mut Option<Hub>, map: &LazyMap) {
    let mut group = c.benchmark_group("publish call to one of 1000000 rooms, 1 shard");
    let (names, frames) = (Names::new("room"), [message(), message()]);
    for threads in [1, 2] {
        group.throughput(Throughput::Elements(threads as u64));
        group.bench_function(format!("roomcast, threads: {threads}"), |b| {
            let front = &hub.get_or_insert_with(crowded).front;
            let publish = |thread, number| {
                front.publish(names.get(thread, number), frame_of(&frames, thread));
            };
            let frame_bytes = frames[0].len();
            b.iter_custom(|calls| {
                time_calls(threads, calls, publish, |_| front.discard(frame_bytes))
            });
        });
        group.bench_function(format!("RwLock<HashMap> and SegQueue, threads: {threads}"), |b| {
            let map = &**map;
            let queue = SegQueue::<(Bytes, PlainRoom)>::new();
            let publish = |thread, number| {
                let map = map.read().expect("no thread panics");
                let room = map.get(names.get(thread, number)).cloned();
                queue.push((Bytes::clone(frame_of(&frames, thread)), room.expect("it is there")));
            };
            b.iter_custom(|calls| {
                time_calls(threads, calls, publish, |_| while queue.pop().is_some() {})
            });
        });
    }
    group.finish();
}
