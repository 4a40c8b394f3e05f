//! The batch: bursts for several connections, which leave together.
//!
//! A fan-out writes the same frames to many sockets. A [`BatchWriter`] does this with few system
//! calls. So the fan-out adds recipients to the batch, and the batch writes when it is full, and
//! before the fan-out ends.
//!
//! # Invariants
//!
//! 1. Between two calls of [`Turn::fan_out`](super::turn::Turn::fan_out), the batch is empty. So no
//!    connection ends, and nothing else is written to it, while its burst is in the batch.
//! 2. A connection occurs once in a batch. What a turn has for a connection in more than one burst
//!    is not added: the second burst must know what the first one left.

use std::task::Poll;

use bytes::Bytes;

use super::compressing::Coding;
use super::conn_slot::ConnSlot;
use super::ending::DueQueue;
use super::send_context::SendContext;
use super::sending::{Outgoing, finish};
use super::table::Table;
use crate::engine::batch::{BatchWriter, WriteResult};
use crate::engine::send_queue::Burst;
use crate::engine::socket::Socket;

/// The most writes in a batch. With more, a write does not cost less.
const WRITES_MAX: usize = 64;

/// The bytes from which a batch is full. They are charged to the budget of a slice when they are
/// written, so a slice may take as much longer: 16 writes.
const BYTES_MAX: usize = 256 * 1024;

/// Fewer writes leave one by one: a batch of them would cost as much.
const WRITES_MIN: usize = 3;

/// Bursts that wait to be written, at most [`WRITES_MAX`]. The buffers are kept.
pub(super) struct Batch<S> {
    writer: Box<dyn BatchWriter<S>>,
    writes: Vec<Write>,
    bursts: Vec<OwnedBurst>,
    bytes: usize,
    results: Vec<WriteResult>,
}

/// A write of the burst at this index.
struct Write {
    slot: ConnSlot,
    burst: usize,
}

/// A burst that some of the writes share.
struct OwnedBurst {
    plain: Burst,
    /// Its compressed form, and the position of a client that has got that form.
    coded: Option<(Bytes, u64)>,
    coding: Coding,
}

impl OwnedBurst {
    fn as_outgoing(&self) -> Outgoing<'_> {
        let coded = self.coded.as_ref().map(|(frames, position)| (frames, *position));
        Outgoing { plain: &self.plain, coded, coding: self.coding }
    }

    /// Whether the bytes to write are the same, in the same place. Then all else is the same, too: a
    /// compressed form belongs to one burst, and the coding of a plain form does not matter.
    fn has_same_bytes(&self, burst: Outgoing<'_>) -> bool {
        let (own, other) = (self.as_outgoing().frames(), burst.frames());
        own.as_ptr() == other.as_ptr() && own.len() == other.len()
    }
}

impl<S: Socket> Batch<S> {
    pub(super) fn new(writer: Box<dyn BatchWriter<S>>) -> Self {
        Self { writer, writes: Vec::new(), bursts: Vec::new(), bytes: 0, results: Vec::new() }
    }

    pub(super) fn accepts(&self, socket: &S) -> bool {
        self.writer.accepts(socket)
    }

    /// Adds a burst for a connection for which nothing waits.
    pub(super) fn add(&mut self, slot: ConnSlot, burst: Outgoing<'_>) {
        if !self.bursts.last().is_some_and(|last| last.has_same_bytes(burst)) {
            let coded = burst.coded.map(|(frames, position)| (frames.clone(), position));
            self.bursts.push(OwnedBurst {
                plain: burst.plain.clone(),
                coded,
                coding: burst.coding,
            });
        }
        self.bytes += burst.frames().len();
        self.writes.push(Write { slot, burst: self.bursts.len() - 1 });
    }

    pub(super) fn is_full(&self) -> bool {
        self.writes.len() >= WRITES_MAX || self.bytes >= BYTES_MAX
    }

    /// Writes all bursts, and empties the batch. A connection whose write fails is added to `due`.
    pub(super) fn write(
        &mut self,
        table: &mut Table<S>,
        ctx: &mut SendContext<S>,
        due: &mut DueQueue,
    ) {
        if self.writes.len() >= WRITES_MIN {
            self.write_together(table);
        }
        let has_moved = |result: &&WriteResult| matches!(result, Poll::Ready(Ok(_)));
        ctx.tally.batched_writes += self.results.iter().filter(has_moved).count() as u64;
        let mut results = self.results.drain(..);
        for Write { slot, burst } in self.writes.drain(..) {
            // Invariant 1.
            let entry = table.get_mut(slot).expect("a connection of the batch");
            let burst = self.bursts[burst].as_outgoing();
            // Small batches, and writes that a failed writer has left out, leave one by one.
            let result = results.next().unwrap_or_else(|| entry.outlet.try_write(burst.frames()));
            finish(burst, result, slot, entry, ctx, due);
        }
        drop(results);
        self.bursts.clear();
        self.bytes = 0;
    }

    fn write_together(&mut self, table: &Table<S>) {
        let Self { writer, writes, bursts, results, .. } = self;
        let write = |write: &Write| {
            // Invariant 1: the connection is still there.
            let entry = table.get(write.slot).expect("a connection of the batch");
            (entry.outlet.socket(), &**bursts[write.burst].as_outgoing().frames())
        };
        let writes: Vec<_> = writes.iter().map(write).collect();
        writer.write(&writes, results);
    }
}
