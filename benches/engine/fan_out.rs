//! Fan-out: from a shard's inbox to the sockets.

use std::hint::black_box;
use std::io::IoSlice;
use std::task::{Context, Waker};

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use roomcast::engine::Socket;
use tokio::sync::broadcast;

use crate::hub::{Hub, Sink, message, room_names};

/// Measures a publish and the turn of the shard that follows: the cost that the engine adds to each
/// write. For comparison: the lower bound, a bare loop over sockets with a write for each message; and a
/// tokio broadcast channel with a receiver for each member, which writes each message that it receives.
pub(crate) fn turns(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out, 1 shard");
    for (members, burst) in [(1, 1), (1_000, 1), (1_000, 16), (100_000, 1)] {
        group.throughput(Throughput::Elements(members as u64 * burst));
        to_one_room(&mut group, members, burst);
    }
    to_many_rooms(&mut group);
    group.finish();
}

fn to_one_room(group: &mut BenchmarkGroup<'_, WallTime>, members: usize, burst: u64) {
    let frame = message();
    let case = format!("{burst} to a room of {members}");
    group.bench_function(&case, |b| {
        let mut hub = Hub::with_room(1, members);
        b.iter(|| {
            (0..burst).for_each(|_| hub.front.publish("room", black_box(&frame)));
            hub.shards.run();
        });
    });
    group.bench_function(format!("{case}, bare loop"), |b| {
        let mut sockets: Vec<_> = (0..members).map(|_| Sink).collect();
        b.iter(|| {
            for _ in 0..burst {
                sockets.iter_mut().for_each(|socket| write(socket, black_box(&frame)));
            }
        });
    });
    group.bench_function(format!("{case}, tokio broadcast"), |b| {
        let (sender, receiver) = broadcast::channel::<Bytes>(16);
        let mut members: Vec<_> = (0..members).map(|_| (receiver.resubscribe(), Sink)).collect();
        drop(receiver);
        b.iter(|| {
            for _ in 0..burst {
                sender.send(Bytes::clone(&frame)).expect("the channel has receivers");
            }
            for (receiver, socket) in &mut members {
                while let Ok(frame) = receiver.try_recv() {
                    write(socket, &frame);
                }
            }
        });
    });
}

fn to_many_rooms(group: &mut BenchmarkGroup<'_, WallTime>) {
    let names = room_names(1_000);
    let frame = message();
    group.throughput(Throughput::Elements(names.len() as u64 * 8));
    group.bench_function("1 to each of 1000 rooms of 8", |b| {
        let mut hub = Hub::with_rooms(1, names.len() * 8, &names);
        b.iter(|| {
            names.iter().for_each(|name| hub.front.publish(name, black_box(&frame)));
            hub.shards.run();
        });
    });
}

fn write(socket: &mut Sink, frame: &Bytes) {
    let mut cx = Context::from_waker(Waker::noop());
    let _ = black_box(socket.poll_write(&mut cx, &[IoSlice::new(frame)]));
}
