//! A selection: the deliveries for one recipient, joined into bursts.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::compressing::{BurstForms, BurstParts, Coding, DeliveryForms, Form};
use super::conn_slot::ConnSlot;
use super::ending::{Due, DueQueue};
use super::outlet::{CodedWrite, ConnRef, Failure};
use super::send_context::SendContext;
use super::table::{Entry, Table};
use crate::engine::command::Delivery;
use crate::engine::frame;
use crate::engine::link::{ConnKey, Stage};
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

    /// Sends the bursts to a connection. `deliveries` are those of the turn, and `forms` theirs.
    pub(super) fn send<S: Socket>(
        &mut self,
        (deliveries, forms): (&[Delivery], &mut [DeliveryForms]),
        slot: ConnSlot,
        table: &mut Table<S>,
        ctx: &mut SendContext<S>,
        due: &mut DueQueue,
    ) {
        let Some(entry) = table.get_mut(slot) else { return };
        for burst in &mut self.bursts {
            if self.coding == Coding::Plain || !entry.window.can_inflate() {
                send(&burst.plain, slot, entry, ctx, due);
            } else {
                let indices = &self.joined[burst.range.clone()];
                let parts =
                    BurstParts { deliveries, forms, indices, is_first: burst.range.start == 0 };
                send_coded(burst, (self.coding, parts), slot, entry, ctx, due);
            }
        }
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

/// Sends a burst to a connection. If the write fails, the connection is added to `due` and gets
/// nothing more. A burst for a connection that has failed or ended counts as lost.
#[inline]
pub(super) fn send<S: Socket>(
    burst: &Burst,
    slot: ConnSlot,
    entry: &mut Entry<S>,
    ctx: &mut SendContext<S>,
    due: &mut DueQueue,
) {
    if entry.stage != Stage::Open {
        return ctx.count_undelivered(burst.messages);
    }
    let conn = ConnRef { slot, link: &entry.link, id: entry.id };
    if let Err(failure) = entry.outlet.send(conn, burst, ctx) {
        fail(entry, failure, due);
    }
}

/// [`send`] for a client that can inflate: it gets the form of the burst that it can read.
fn send_coded<S: Socket>(
    burst: &mut JoinedBurst,
    (coding, parts): (Coding, BurstParts<'_>),
    slot: ConnSlot,
    entry: &mut Entry<S>,
    ctx: &mut SendContext<S>,
    due: &mut DueQueue,
) {
    // What waits is plain (invariant 2 of `compressing`).
    if entry.stage != Stage::Open || entry.outlet.has_backlog() {
        return send(&burst.plain, slot, entry, ctx, due);
    }
    let JoinedBurst { plain, forms, .. } = burst;
    let Some(form) = ctx.choose_form(coding, entry.window, (&plain.frames, forms), parts) else {
        return send(plain, slot, entry, ctx, due);
    };
    let (coded, position) = forms.get(form);
    let conn = ConnRef { slot, link: &entry.link, id: entry.id };
    match entry.outlet.send_coded(conn, plain, coded, ctx) {
        Ok(CodedWrite::All) => {
            entry.window.move_to(position);
            ctx.note_compressed(plain.frames.len(), coded.len());
            if matches!(form, Form::Shared) {
                ctx.note_in_step(coding);
            }
        }
        Ok(CodedWrite::Cut) => entry.window.lose(),
        Ok(CodedWrite::Nothing) => {}
        Err(failure) => fail(entry, failure, due),
    }
}

fn fail<S>(entry: &mut Entry<S>, failure: Failure, due: &mut DueQueue) {
    entry.stage = Stage::Failed;
    due.push_back((entry.id, Due::Failed(failure)));
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
