//! The send queue of a connection whose socket is blocked.

use std::collections::VecDeque;
use std::hint::black_box;
use std::io::IoSlice;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use roomcast::engine::{Burst, Overflow, Pushed, QueueLimits, SendQueue, WRITE_SLOTS_MAX};

use crate::hub::message;

/// The default bound of a send queue, in messages.
const SLOTS: usize = 16;

fn limits(overflow: Overflow) -> QueueLimits {
    QueueLimits { slots: SLOTS, bytes: 1 << 20, overflow }
}

fn burst() -> Burst {
    Burst { frames: plain_message(), messages: 1 }
}

/// Measures 16 messages that queue up while a socket is blocked, and leave in one vectored write: the queue
/// is created, filled, written, emptied and dropped. For comparison: a ring of plain `Bytes`.
pub(crate) fn bursts(c: &mut Criterion) {
    let mut group = c.benchmark_group("send queue, 16 messages through it");
    group.throughput(Throughput::Elements(SLOTS as u64));
    group.bench_function("roomcast", |b| {
        let (limits, burst) = (limits(Overflow::Evict), burst());
        b.iter(|| {
            let mut queue = SendQueue::new(&limits);
            for _ in 0..SLOTS {
                black_box(queue.push(black_box(&burst).clone(), &limits));
            }
            let mut buffers = [IoSlice::new(&[]); WRITE_SLOTS_MAX];
            let filled = queue.fill(&mut buffers);
            let written = black_box(&buffers[..filled]).iter().map(|buffer| buffer.len()).sum();
            queue.advance(written);
            assert!(queue.is_empty());
        });
    });
    group.bench_function("VecDeque<Bytes>", |b| {
        let frame = plain_message();
        b.iter(|| {
            let mut queue = VecDeque::with_capacity(SLOTS);
            for _ in 0..SLOTS {
                queue.push_back(black_box(&frame).clone());
                black_box(&queue);
            }
            let mut buffers = [IoSlice::new(&[]); WRITE_SLOTS_MAX];
            for (buffer, frame) in buffers.iter_mut().zip(&queue) {
                *buffer = IoSlice::new(frame);
            }
            let mut written = black_box(&buffers).iter().map(|buffer| buffer.len()).sum::<usize>();
            while let Some(frame) = queue.front().filter(|frame| frame.len() <= written) {
                written -= frame.len();
                queue.pop_front();
            }
            assert!(queue.is_empty());
        });
    });
    group.finish();
}

/// Measures the push of a message to a full queue, for each policy. For comparison: a ring of plain `Bytes` with
/// the same policy.
pub(crate) fn overflow(c: &mut Criterion) {
    let mut group = c.benchmark_group("send queue, a message past the bound");
    for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Evict] {
        let limits = limits(overflow);
        group.bench_function(format!("{overflow:?}"), |b| {
            let mut queue = SendQueue::new(&limits);
            (0..SLOTS).for_each(|_| assert_eq!(queue.push(burst(), &limits), Pushed::Queued));
            let burst = burst();
            b.iter(|| queue.push(black_box(&burst).clone(), &limits));
        });
    }
    let full = || VecDeque::from([(); SLOTS].map(|()| plain_message()));
    group.bench_function("DropOldest, VecDeque<Bytes>", |b| {
        let (mut queue, frame) = (full(), plain_message());
        b.iter(|| {
            let oldest = if queue.len() >= SLOTS { queue.pop_front() } else { None };
            queue.push_back(black_box(&frame).clone());
            oldest
        });
    });
    group.bench_function("DropNewest, VecDeque<Bytes>", |b| {
        let (queue, frame) = (full(), plain_message());
        b.iter(|| refuse(black_box(&queue), black_box(&frame).clone()));
    });
    group.finish();
}

fn plain_message() -> Bytes {
    Bytes::clone(&message())
}

/// Returns `true` if the frame was dropped.
fn refuse(queue: &VecDeque<Bytes>, _frame: Bytes) -> bool {
    queue.len() >= SLOTS
}
