//! The inbox of a shard alone.

use std::hint::black_box;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use crossbeam_queue::SegQueue;
use roomcast::engine::{Congestion, Inbox, InboxLimits};

use crate::hub::{frame_of, message};
use crate::timing::time_calls;

/// Measures a push of a frame, by one producer and by two; and a whole pass: reserve space, push, pop, and
/// release the space. For comparison: the queue inside the inbox, which has no bound and wakes nobody; and
/// the channel of the standard library.
pub(crate) fn pushing(c: &mut Criterion) {
    let mut group = c.benchmark_group("inbox");
    for producers in [1, 2] {
        group.throughput(Throughput::Elements(producers as u64));
        push(&mut group, producers);
    }
    group.throughput(Throughput::Elements(1));
    push_and_pop(&mut group);
    group.finish();
}

fn inbox() -> Inbox<Bytes> {
    Inbox::new(InboxLimits { messages: 1 << 16, bytes: 1 << 26 })
}

fn put(inbox: &Inbox<Bytes>, frame: &Bytes) {
    inbox.reserve(frame.len()).expect("within the limits");
    inbox.push(black_box(frame).clone());
}

fn take(inbox: &Inbox<Bytes>) -> Option<Bytes> {
    inbox.pop().inspect(|frame| inbox.release(1, frame.len()))
}

fn push(group: &mut BenchmarkGroup<'_, WallTime>, producers: usize) {
    let frames = [message(), message()];
    group.bench_function(format!("push, producers: {producers}"), |b| {
        let inbox = inbox();
        let push = |producer, _| put(&inbox, frame_of(&frames, producer));
        b.iter_custom(|calls| {
            time_calls(producers, calls, push, |_| while take(&inbox).is_some() {})
        });
    });
    group.bench_function(format!("push, SegQueue, producers: {producers}"), |b| {
        let queue = SegQueue::new();
        let push = |producer, _| queue.push(frame_of(&frames, producer).clone());
        b.iter_custom(|calls| {
            time_calls(producers, calls, push, |_| while queue.pop().is_some() {})
        });
    });
    group.bench_function(format!("push, std::sync::mpsc, producers: {producers}"), |b| {
        let (sender, receiver) = mpsc::channel();
        let push = |producer, _| {
            sender.send(frame_of(&frames, producer).clone()).expect("the receiver exists");
        };
        b.iter_custom(|calls| {
            time_calls(producers, calls, push, |_| while receiver.try_recv().is_ok() {})
        });
    });
}

fn push_and_pop(group: &mut BenchmarkGroup<'_, WallTime>) {
    let frame = message();
    group.bench_function("push and pop", |b| {
        let inbox = inbox();
        b.iter(|| {
            put(&inbox, &frame);
            take(&inbox)
        });
    });
    group.bench_function("push and pop, SegQueue", |b| {
        let queue = SegQueue::new();
        b.iter(|| {
            queue.push(black_box(&frame).clone());
            queue.pop()
        });
    });
    group.bench_function("push and pop, std::sync::mpsc", |b| {
        let (sender, receiver) = mpsc::channel();
        b.iter(|| {
            sender.send(black_box(&frame).clone()).expect("the receiver exists");
            receiver.try_recv()
        });
    });
}

/// Measures the check that a reader makes before each message of a client: whether the inbox of any shard is
/// congested. One case runs alone, one beside a publisher that writes to each inbox in turn. For comparison: a check
/// of each inbox.
pub(crate) fn asking(c: &mut Criterion) {
    let mut group = c.benchmark_group("congestion");
    for shards in [1, 8, 64] {
        for threads in [1, 2] {
            ask(&mut group, shards, threads);
        }
    }
    group.finish();
}

fn ask(group: &mut BenchmarkGroup<'_, WallTime>, shards: usize, threads: usize) {
    let beside = if threads == 1 { "" } else { ", beside a publisher" };
    let congestion = Arc::new(Congestion::new());
    let inboxes: Vec<_> =
        (0..shards).map(|_| inbox().with_congestion(congestion.clone())).collect();
    let publish = |call: usize| {
        let inbox = &inboxes[call % shards];
        inbox.reserve(128).expect("within the limits");
        inbox.release(1, 128);
    };
    let mut time = |name: &str, look: &(dyn Fn() -> bool + Sync)| {
        group.bench_function(format!("{name}shards: {shards}{beside}"), |b| {
            b.iter_custom(|calls| {
                let call = |thread, call| match thread {
                    0 => assert!(!black_box(look())),
                    _ => publish(call),
                };
                time_calls(threads, calls, call, |_| {})
            });
        });
    };
    let look_at_each = || inboxes.iter().any(Inbox::is_congested);
    time("", &|| congestion.is_likely() && look_at_each());
    time("each inbox, ", &look_at_each);
}
