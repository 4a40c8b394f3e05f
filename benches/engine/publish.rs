//! The publish call.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use tokio::sync::broadcast;

use crate::hub::{Hub, frame_of, message};
use crate::timing::{ROUND, time_calls};

/// Measures the call that publishes an encoded frame: a look-up of the room's name, and a push for each
/// shard. The cost does not depend on the size of the room; the shards do the fan-out later. For comparison:
/// the `send` of a tokio broadcast channel, without a look-up, with two receivers that are awake.
pub(crate) fn calls(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish call, 2 shards");
    for threads in [1, 2] {
        group.throughput(Throughput::Elements(threads as u64));
        for members in [2, 1_000, 100_000] {
            ours(&mut group, threads, members);
        }
        by_broadcast(&mut group, threads);
    }
    group.finish();
}

/// Measures the call that publishes to one connection: the call pushes to the connection's shard only.
pub(crate) fn to_one(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish to one connection");
    for shards in [1, 64] {
        group.bench_function(format!("{shards} shards"), |b| {
            let hub = Hub::new(shards, shards);
            let front = &hub.front;
            let last = front.links.last().expect("there is one for each shard").id();
            let frame = message();
            let publish = |_, _| front.publish_to(black_box(last), &frame);
            b.iter_custom(|calls| time_calls(1, calls, publish, |_| front.discard(frame.len())));
        });
    }
    group.finish();
}

fn ours(group: &mut BenchmarkGroup<'_, WallTime>, threads: usize, members: usize) {
    group.bench_function(format!("room of {members}, threads: {threads}"), |b| {
        let hub = Hub::with_room(2, members);
        let front = &hub.front;
        let frames = [message(), message()];
        let publish = |thread, _| front.publish(black_box("room"), frame_of(&frames, thread));
        let frame_bytes = frames[0].len();
        b.iter_custom(|calls| time_calls(threads, calls, publish, |_| front.discard(frame_bytes)));
    });
}

fn by_broadcast(group: &mut BenchmarkGroup<'_, WallTime>, threads: usize) {
    group.bench_function(format!("tokio broadcast, threads: {threads}"), |b| {
        let (sender, receiver) = broadcast::channel(2 * ROUND);
        let mut receivers = [receiver.resubscribe(), receiver];
        let frames = [message(), message()];
        let send = |thread, _| {
            let _ = black_box(sender.send(frame_of(&frames, thread).clone()));
        };
        b.iter_custom(|calls| {
            time_calls(threads, calls, send, |_| {
                receivers.iter_mut().for_each(|receiver| while receiver.try_recv().is_ok() {});
            })
        });
    });
}
