//! Sending a burst to one connection: the write, and what follows from its result.

use bytes::Bytes;

use super::compressing::Coding;
use super::conn_slot::ConnSlot;
use super::ending::{Due, DueQueue};
use super::outlet::{CodedWrite, ConnRef, Failure};
use super::send_context::SendContext;
use super::table::Entry;
use crate::engine::batch::WriteResult;
use crate::engine::link::Stage;
use crate::engine::send_queue::Burst;
use crate::engine::socket::Socket;

/// A burst on its way to a connection.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) plain: &'a Burst,
    /// The form that leaves instead, and the position of a client that has got it.
    pub(super) coded: Option<(&'a Bytes, u64)>,
    pub(super) coding: Coding,
}

impl<'a> Outgoing<'a> {
    pub(super) fn plain(plain: &'a Burst) -> Self {
        Self { plain, coded: None, coding: Coding::Plain }
    }

    /// The bytes to write.
    pub(super) fn frames(self) -> &'a Bytes {
        self.coded.map_or(&self.plain.frames, |(frames, _)| frames)
    }
}

/// Sends a burst to a connection. If the write fails, the connection is added to `due` and gets
/// nothing more. A burst for a connection that has failed or ended counts as lost.
#[inline]
pub(super) fn send<S: Socket>(
    burst: Outgoing<'_>,
    slot: ConnSlot,
    entry: &mut Entry<S>,
    ctx: &mut SendContext<S>,
    due: &mut DueQueue,
) {
    if entry.stage != Stage::Open {
        return ctx.count_undelivered(burst.plain.messages);
    }
    if entry.outlet.has_backlog() {
        // What waits is plain (invariant 2 of `compressing`).
        let conn = ConnRef { slot, link: &entry.link, id: entry.id };
        let queued = entry.outlet.queue(conn, burst.plain, ctx);
        return queued.unwrap_or_else(|failure| fail(entry, failure, due));
    }
    let result = entry.outlet.try_write(burst.frames());
    finish(burst, result, slot, entry, ctx, due);
}

/// Takes the result of the write of a burst.
#[inline]
pub(super) fn finish<S: Socket>(
    burst: Outgoing<'_>,
    result: WriteResult,
    slot: ConnSlot,
    entry: &mut Entry<S>,
    ctx: &mut SendContext<S>,
    due: &mut DueQueue,
) {
    let conn = ConnRef { slot, link: &entry.link, id: entry.id };
    let Outgoing { plain, coded, coding } = burst;
    let finished = match coded {
        None => entry.outlet.finish(conn, plain, result, ctx),
        Some((coded, position)) => {
            let written = entry.outlet.finish_coded(conn, plain, coded, result, ctx);
            written.map(|written| match written {
                CodedWrite::All => {
                    entry.window.move_to(position);
                    ctx.note_compressed(plain.frames.len(), coded.len());
                    if entry.window.is_known() {
                        ctx.note_in_step(coding);
                    }
                }
                CodedWrite::Cut => entry.window.lose(),
                CodedWrite::Nothing => {}
            })
        }
    };
    if let Err(failure) = finished {
        fail(entry, failure, due);
    }
}

fn fail<S>(entry: &mut Entry<S>, failure: Failure, due: &mut DueQueue) {
    entry.stage = Stage::Failed;
    due.push_back((entry.id, Due::Failed(failure)));
}
