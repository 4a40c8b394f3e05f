//! What the core costs by itself, with sockets that take everything: whatever a delivery costs
//! beyond this is the kernel's.
//!
//! ```text
//! cargo bench --bench engine
//! ```

use std::hint::black_box;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use roomcast::engine::{
    Address, ConnKey, FrameKind, InboxLimits, LARGE_AUDIENCE, Link, Overflow, Port, Progress,
    QueueLimits, RoomLimits, Shard, ShardConfig, Socket, frame, publish,
};

/// A socket that takes everything at once.
struct Sink;

impl Socket for Sink {
    fn poll_write(
        &mut self,
        _: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(frames.iter().map(|frame| black_box(frame).len()).sum()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn shut_down(&mut self) {}

    fn abort(&mut self) {}
}

struct Hub {
    ports: Vec<Arc<Port<Sink>>>,
    shards: Vec<Shard<Sink>>,
    links: Vec<Arc<Link>>,
}

impl Hub {
    fn new(shards: usize, members: usize) -> Self {
        let inbox = InboxLimits { messages: 1 << 20, bytes: 1 << 30 };
        let rooms = RoomLimits { name_bytes: 255, rooms_per_conn: 1_024 };
        let queue = QueueLimits { slots: 16, bytes: 1 << 20, overflow: Overflow::Evict };
        let config = ShardConfig {
            queue,
            ping_interval: None,
            write_timeout: Duration::from_secs(5),
            large_audience: LARGE_AUDIENCE,
        };
        let ports: Vec<_> =
            (0..shards).map(|index| Arc::new(Port::new(index, inbox, rooms))).collect();
        let engines = ports.iter().map(|port| Shard::new(config, port.clone())).collect();
        let ids = (0..members as u64).map(|serial| ConnKey::new(serial, serial as usize % shards));
        let links: Vec<_> = ids.map(|id| Arc::new(Link::new(id))).collect();
        let mut hub = Self { ports, shards: engines, links };
        for link in &hub.links {
            hub.ports[link.id().shard()].attach(link.clone(), Sink);
        }
        hub.run();
        hub
    }

    fn with_room(shards: usize, members: usize) -> Self {
        let mut hub = Self::new(shards, members);
        hub.join_all("room");
        hub
    }

    fn join_all(&mut self, room: &str) {
        for link in &self.links {
            self.ports[link.id().shard()].join(link, room).expect("within the limits");
        }
        self.run();
    }

    fn leave_all(&mut self, room: &str) {
        for link in &self.links {
            self.ports[link.id().shard()].leave(link, room).expect("within the limits");
        }
        self.run();
    }

    fn run(&mut self) {
        for shard in &mut self.shards {
            while shard.run(Duration::ZERO, usize::MAX / 2) == Progress::Busy {}
        }
    }

    fn publish(&self, room: &str, frame: &Bytes) {
        publish(&self.ports, Address::Room(room), &[], frame).expect("within the limits");
    }
}

fn message() -> Bytes {
    frame::encode(FrameKind::Text, &[b'x'; 128])
}

/// The call of a publisher: the same for any size of the room.
fn publish_call(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish call, 2 shards");
    for members in [2, 1_000, 100_000] {
        let mut hub = Hub::with_room(2, members);
        let frame = message();
        group.bench_function(format!("room of {members}"), |b| {
            b.iter_custom(|calls| {
                let mut spent = Duration::ZERO;
                for _ in 0..calls {
                    let start = std::time::Instant::now();
                    hub.publish("room", &frame);
                    spent += start.elapsed();
                    // The fan-out is measured elsewhere: throw the deliveries away.
                    hub.ports.iter().for_each(|port| {
                        while port.inbox().pop().is_some() {}
                        port.inbox().release(1, frame.len());
                    });
                }
                spent
            });
        });
        hub.run();
    }
    group.finish();
}

/// A turn of the shard: what the engine adds to each write.
fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out, 1 shard");
    for (members, burst) in [(1, 1), (1_000, 1), (1_000, 16), (100_000, 1)] {
        let mut hub = Hub::with_room(1, members);
        let frame = message();
        group.throughput(Throughput::Elements(members as u64 * burst));
        group.bench_function(format!("{burst} to a room of {members}"), |b| {
            b.iter(|| {
                (0..burst).for_each(|_| hub.publish("room", &frame));
                hub.run();
            });
        });
    }
    let rooms = 1_000;
    let mut hub = Hub::new(1, rooms * 8);
    for (index, link) in hub.links.iter().enumerate() {
        hub.ports[0].join(link, &format!("room{}", index % rooms)).expect("within the limits");
    }
    hub.run();
    let names: Vec<_> = (0..rooms).map(|room| format!("room{room}")).collect();
    let frame = message();
    group.throughput(Throughput::Elements(rooms as u64 * 8));
    group.bench_function("1 to each of 1000 rooms of 8", |b| {
        b.iter(|| {
            names.iter().for_each(|name| hub.publish(name, &frame));
            hub.run();
        });
    });
    group.finish();
}

/// 100,000 connections into one room, and out of it.
fn membership(c: &mut Criterion) {
    let members = 100_000;
    let mut group = c.benchmark_group("membership, 1 shard");
    group.sample_size(10);
    group.throughput(Throughput::Elements(members as u64));
    group.bench_function("100000 joins into one room", |b| {
        b.iter_batched_ref(
            || Hub::new(1, members),
            |hub| hub.join_all("room"),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("100000 leaves from one room", |b| {
        b.iter_batched_ref(
            || Hub::with_room(1, members),
            |hub| hub.leave_all("room"),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, publish_call, fan_out, membership);
criterion_main!(benches);
