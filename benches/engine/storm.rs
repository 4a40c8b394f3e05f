//! Storms: all connections arrive or end at once.

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};

use crate::hub::{Hub, room_names};
use crate::plain::PlainHub;

const CONNECTIONS: usize = 10_000;

/// Measures 10,000 connections that connect and join a room, as after a restart; and 10,000 connections that
/// end, as when a network fails: the work of the core until the last connection is served. For comparison: a
/// map of connections and a map of rooms, each behind a lock.
pub(crate) fn storms(c: &mut Criterion) {
    let mut group = c.benchmark_group("storm of 10000 connections, 1 shard");
    group.sample_size(10).throughput(Throughput::Elements(CONNECTIONS as u64));
    for (rooms, names) in [("one room", 1), ("rooms of 8", CONNECTIONS / 8)] {
        let names = room_names(names);
        ours(&mut group, rooms, &names);
        plain(&mut group, rooms, &names);
    }
    group.finish();
}

fn ours(group: &mut BenchmarkGroup<'_, WallTime>, rooms: &str, names: &[String]) {
    let each = BatchSize::PerIteration;
    group.bench_function(format!("connect and join {rooms}"), |b| {
        let arrive = |hub: &mut Hub| {
            hub.front.connect(CONNECTIONS);
            hub.join_all(names);
        };
        b.iter_batched_ref(|| Hub::empty(1), arrive, each);
    });
    group.bench_function(format!("disconnect from {rooms}"), |b| {
        let depart = |hub: &mut Hub| {
            hub.front.disconnect_all();
            hub.shards.run();
        };
        b.iter_batched_ref(|| Hub::with_rooms(1, CONNECTIONS, names), depart, each);
    });
}

fn plain(group: &mut BenchmarkGroup<'_, WallTime>, rooms: &str, names: &[String]) {
    let each = BatchSize::PerIteration;
    let arrive = |hub: &mut PlainHub| {
        for id in 0..CONNECTIONS {
            hub.connect(id as u64);
            hub.join(id as u64, &names[id % names.len()]);
        }
    };
    let depart = |hub: &mut PlainHub| (0..CONNECTIONS as u64).for_each(|id| hub.disconnect(id));
    group.bench_function(format!("connect and join {rooms}, Mutex<HashMap> twice"), |b| {
        b.iter_batched_ref(PlainHub::default, arrive, each);
    });
    group.bench_function(format!("disconnect from {rooms}, Mutex<HashMap> twice"), |b| {
        let joined = || {
            let mut hub = PlainHub::default();
            arrive(&mut hub);
            hub
        };
        b.iter_batched_ref(joined, depart, each);
    });
}
