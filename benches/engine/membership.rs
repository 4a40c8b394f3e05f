//! Joining and leaving rooms.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use roomcast::CloseCode;
use roomcast::engine::Action;

use crate::hub::{Hub, message, room_names};
use crate::plain::PlainRooms;
use crate::timing::{ROUND, time_calls};

const PLAIN: &str = "Mutex<HashMap<String, HashSet<u64>>>";

/// Measures 100,000 connections that join one room and leave it: the calls, and the work of the shard.
pub(crate) fn huge_room(c: &mut Criterion) {
    let mut group = c.benchmark_group("membership, 100000 in one room");
    group.sample_size(10);
    joins_and_leaves(&mut group, 100_000, &room_names(1));
    actions(&mut group, 100_000);
    group.finish();
}

/// Measures one action on all members: join, leave, close.
fn actions(group: &mut BenchmarkGroup<'_, WallTime>, connections: usize) {
    let bye = Action::Close { code: CloseCode::NORMAL, reason: "bye" };
    for (name, action) in
        [("join", Action::Join("other")), ("leave", Action::Leave("room")), ("close", bye)]
    {
        group.bench_function(format!("{name}, one action"), |b| {
            b.iter_batched_ref(
                || Hub::with_room(1, connections),
                |hub| {
                    hub.front.act("room", action);
                    hub.shards.run();
                },
                BatchSize::PerIteration,
            );
        });
    }
    // How long an action delays the messages behind it in the inbox.
    group.bench_function("close, one action, until a message behind it is out", |b| {
        b.iter_batched_ref(
            || {
                let mut hub = Hub::with_room(1, connections);
                hub.front.connect(1);
                hub.front.join(connections, "last");
                hub.shards.run();
                hub
            },
            |hub| {
                hub.front.act("room", bye);
                hub.front.publish("last", &message());
                hub.shards.run_until_deliveries(&hub.front, 1);
            },
            BatchSize::PerIteration,
        );
    });
}

/// Measures joins and leaves of 8,000 connections in rooms of 8; the rooms are created and removed meanwhile.
pub(crate) fn small_rooms(c: &mut Criterion) {
    let mut group = c.benchmark_group("membership, 8000 in rooms of 8");
    joins_and_leaves(&mut group, 8_000, &room_names(1_000));
    group.finish();
}

fn joins_and_leaves(
    group: &mut BenchmarkGroup<'_, WallTime>,
    connections: usize,
    names: &[String],
) {
    group.throughput(Throughput::Elements(connections as u64));
    let joined = || Hub::with_rooms(1, connections, names);
    let joined_plain = || {
        let rooms = PlainRooms::default();
        rooms.join_all(connections, names);
        rooms
    };
    let each = BatchSize::PerIteration;
    group.bench_function("join", |b| {
        b.iter_batched_ref(|| Hub::new(1, connections), |hub| hub.join_all(names), each);
    });
    group.bench_function(format!("join, {PLAIN}"), |b| {
        b.iter_batched_ref(PlainRooms::default, |rooms| rooms.join_all(connections, names), each);
    });
    group.bench_function("leave", |b| {
        b.iter_batched_ref(joined, |hub| hub.leave_all(names), each);
    });
    group.bench_function(format!("leave, {PLAIN}"), |b| {
        b.iter_batched_ref(joined_plain, |rooms| rooms.leave_all(connections, names), each);
    });
}

/// Measures the calls alone, the part in which threads can contend. The rooms are in one shard's index; the
/// threads all use the same room, or each uses a new room for each call. The map for comparison does the
/// whole work in the call; here the shard does the rest later.
pub(crate) fn calls(c: &mut Criterion) {
    let mut group = c.benchmark_group("membership calls, 1 shard");
    for threads in [1, 2] {
        group.throughput(Throughput::Elements(threads as u64));
        for (rooms, names) in [("one room", 1), ("a room each", threads * ROUND)] {
            let names = room_names(names);
            let case = format!("{rooms}, threads: {threads}");
            ours(&mut group, &case, threads, &names);
            plain(&mut group, &case, threads, &names);
        }
    }
    group.finish();
}

/// The connection of a call: a different connection for each call of a round.
fn connection(thread: usize, number: usize) -> usize {
    thread * ROUND + number % ROUND
}

/// The room that a connection joins and leaves.
fn room(names: &[String], connection: usize) -> &str {
    black_box(&names[connection % names.len()])
}

fn ours(group: &mut BenchmarkGroup<'_, WallTime>, case: &str, threads: usize, names: &[String]) {
    group.bench_function(format!("join, {case}"), |b| {
        let Hub { front, mut shards } = Hub::new(1, threads * ROUND);
        let join = |thread, number| {
            let connection = connection(thread, number);
            front.join(connection, room(names, connection));
        };
        b.iter_custom(|calls| {
            time_calls(threads, calls, join, |_| {
                shards.run();
                front.leave_all(names);
                shards.run();
            })
        });
    });
    group.bench_function(format!("leave, {case}"), |b| {
        let Hub { front, mut shards } = Hub::with_rooms(1, threads * ROUND, names);
        let leave = |thread, number| {
            let connection = connection(thread, number);
            front.leave(connection, room(names, connection));
        };
        b.iter_custom(|calls| {
            time_calls(threads, calls, leave, |_| {
                shards.run();
                front.join_all(names);
                shards.run();
            })
        });
    });
}

fn plain(group: &mut BenchmarkGroup<'_, WallTime>, case: &str, threads: usize, names: &[String]) {
    let rooms = PlainRooms::default();
    let connections = threads * ROUND;
    let join = |thread, number| {
        let connection = connection(thread, number);
        rooms.join(connection as u64, room(names, connection));
    };
    let leave = |thread, number| {
        let connection = connection(thread, number);
        rooms.leave(connection as u64, room(names, connection));
    };
    group.bench_function(format!("join, {case}, {PLAIN}"), |b| {
        b.iter_custom(|calls| {
            time_calls(threads, calls, join, |_| rooms.leave_all(connections, names))
        });
    });
    rooms.join_all(connections, names);
    group.bench_function(format!("leave, {case}, {PLAIN}"), |b| {
        b.iter_custom(|calls| {
            time_calls(threads, calls, leave, |_| rooms.join_all(connections, names))
        });
    });
}
