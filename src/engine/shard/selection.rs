//! A selection: the deliveries for one recipient, joined into bursts.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::batch::Batch;
use super::compressing::{BurstForms, BurstParts, ClientWindow, Coding, DeliveryForms};
use super::conn_slot::ConnSlot;
use super::ending::DueQueue;
use super::send_context::SendContext;
use super::sending::{Outgoing, send};
use super::table::Table;
use crate::engine::command::Delivery;
use crate::engine::frame;
use crate::engine::link::ConnKey;
use crate::engine::send_queue::Burst;
use crate::engine::socket::Socket;

/// The most bytes in a joined burst. Joining pays while a copy is cheap compared to a write; a
/// larger burst would only wait in a send queue as one piece.
const BURST_BYTES_MAX: usize = 128 * 1024;

/// The index of a delivery in its turn. A plain number, because lists of numbers are compared byte
/// by byte: a fan-out in which each member has its own selection takes a tenth less time.
pub(super) type DeliveryIndex = u32;

/// Indices of deliveries, and the bursts of the last selection. The buffers are kept.
#[derive(Debug)]
pub(super) struct Selection {
    /// The selected deliveries. They must be in the order of the inbox when they are joined.
    pub(super) indices: Vec<DeliveryIndex>,
    /// The indices that `bursts` were made of.
    joined: Vec<DeliveryIndex>,
    bursts: Vec<JoinedBurst>,
    burst_bytes_max: usize,
    /// How the deliveries may be compressed.
    pub(super) coding: Coding,
}

/// A burst that was joined from deliveries.
#[derive(Debug)]
struct JoinedBurst {
    plain: Burst,
    /// Its part of the joined indices.
    range: Range<usize>,
    forms: BurstForms,
}

impl Selection {
    /// An empty selection. Its bursts fit into a send queue of `queue_bytes`.
    pub(super) fn new(queue_bytes: usize) -> Self {
        Self {
            indices: Vec::new(),
            joined: Vec::new(),
            bursts: Vec::new(),
            burst_bytes_max: BURST_BYTES_MAX.min(queue_bytes),
            coding: Coding::Plain,
        }
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.bursts.is_empty()
    }

    /// Empties the selection, when its deliveries go.
    pub(super) fn clear(&mut self) {
        self.indices.clear();
        self.joined.clear();
        self.bursts.clear();
    }

    /// Removes the deliveries that except the connection.
    pub(super) fn pass_by(&mut self, id: ConnKey, deliveries: &[Delivery]) {
        self.indices.retain(|&index| !deliveries[index as usize].except.passes_by(id));
    }

    /// Sends the bursts to a connection.
    pub(super) fn send<S: Socket>(
        &mut self,
        mut turn: TurnParts<'_>,
        slot: ConnSlot,
        table: &mut Table<S>,
        ctx: &mut SendContext<S>,
        due: &mut DueQueue,
    ) {
        let Some(entry) = table.get_mut(slot) else { return };
        for at in 0..self.bursts.len() {
            let window = entry.is_ready().then_some(entry.window);
            send(self.outgoing(at, &mut turn, window, ctx), slot, entry, ctx, due);
        }
    }

    /// Adds the burst for a connection to the batch, if there is a single burst, and if nothing
    /// waits for the connection. Otherwise sends the bursts.
    pub(super) fn send_in_batch<S: Socket>(
        &mut self,
        mut turn: TurnParts<'_>,
        slot: ConnSlot,
        table: &mut Table<S>,
        (ctx, batch): (&mut SendContext<S>, &mut Batch<S>),
        due: &mut DueQueue,
    ) {
        let Some(entry) = table.get(slot) else { return };
        if self.bursts.len() != 1 || !entry.is_ready() || !batch.accepts(entry.outlet.socket()) {
            return self.send(turn, slot, table, ctx, due);
        }
        batch.add(slot, self.outgoing(0, &mut turn, Some(entry.window), ctx));
    }

    /// The burst `at`, in the form that a client with this window can read. Plain without a window.
    fn outgoing<S>(
        &mut self,
        at: usize,
        turn: &mut TurnParts<'_>,
        window: Option<ClientWindow>,
        ctx: &mut SendContext<S>,
    ) -> Outgoing<'_> {
        let coding = self.coding;
        let JoinedBurst { plain, range, forms: burst_forms } = &mut self.bursts[at];
        let window = window.filter(|window| coding != Coding::Plain && window.can_inflate());
        let form = window.and_then(|window| {
            let indices = &self.joined[range.clone()];
            let is_first = range.start == 0;
            let TurnParts { deliveries, forms } = turn;
            let parts = BurstParts { deliveries, forms, indices, is_first };
            ctx.choose_form(coding, window, (&plain.frames, burst_forms), parts)
        });
        Outgoing { plain, coded: form.map(|form| burst_forms.get(form)), coding }
    }

    /// Makes the bursts of `indices`, unless the last bursts were made of the same. Mixed
    /// connections often come in runs with the same selection, as when a whole room also gets a
    /// broadcast.
    pub(super) fn join(&mut self, deliveries: &[Delivery]) {
        if self.indices == self.joined && !self.bursts.is_empty() {
            return;
        }
        self.joined.clone_from(&self.indices);
        self.bursts.clear();
        let frames = |index: &DeliveryIndex| &*deliveries[*index as usize].frames;
        let mut rest = &self.indices[..];
        let mut start = 0;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|index| {
                bytes += frames(index).len();
                bytes <= self.burst_bytes_max
            });
            let (run, others) = rest.split_at(fits.count().max(1));
            let messages = run.iter().map(|index| frame::count(frames(index))).sum();
            self.bursts.push(JoinedBurst {
                plain: Burst { frames: concat(run.iter().map(frames)), messages },
                range: start..start + run.len(),
                forms: BurstForms::default(),
            });
            start += run.len();
            rest = others;
        }
    }
}

/// The deliveries of a turn, and the compressed forms of each.
pub(super) struct TurnParts<'a> {
    pub(super) deliveries: &'a [Delivery],
    pub(super) forms: &'a mut [DeliveryForms],
}

/// Joins several frames into one buffer; shares the bytes of a single one.
fn concat<'a>(mut frames: impl ExactSizeIterator<Item = &'a Bytes> + Clone) -> Bytes {
    if frames.len() == 1 {
        return frames.next().cloned().unwrap_or_default();
    }
    let mut joined = BytesMut::with_capacity(frames.clone().map(Bytes::len).sum());
    frames.for_each(|frame| joined.extend_from_slice(frame));
    joined.freeze()
}
