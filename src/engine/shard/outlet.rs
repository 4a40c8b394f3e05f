//! The outlet of one connection: writes at once, or queues what the socket does not take.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::conn_slot::ConnSlot;
use super::send_context::{SendContext, Tally};
use crate::engine::batch::WriteResult;
use crate::engine::close::{DisconnectReason, Eviction};
use crate::engine::command::Command;
use crate::engine::frame;
use crate::engine::link::{ConnKey, Link};
use crate::engine::port::Port;
use crate::engine::send_queue::{Amount, Burst, Pushed, SendQueue, WRITE_SLOTS_MAX};
use crate::engine::socket::Socket;
use crate::engine::sync::{AtomicBool, Ordering};

/// Why a connection cannot continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Its queue is full. The amount is what was queued, with the new burst.
    Full(Amount),
    /// Its socket has failed.
    Io(io::ErrorKind),
}

impl From<Failure> for DisconnectReason {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Io(kind) => Self::Io(kind),
            Failure::Full(Amount { messages, bytes }) => {
                Self::SlowClient { cause: Eviction::Full, messages, bytes }
            }
        }
    }
}

/// The part of a compressed burst that has left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodedWrite {
    /// All, except perhaps for the rest of the last frame, which waits and will be finished.
    All,
    /// Some frames. The others wait, plain.
    Cut,
    /// Nothing. The burst waits, plain.
    Nothing,
}

/// A connection of the shard, for its outlet.
#[derive(Clone, Copy)]
pub(super) struct ConnRef<'a> {
    pub(super) slot: ConnSlot,
    /// Used only when something is queued: a fan-out without queues does not touch the memory
    /// shared with the session.
    pub(super) link: &'a Link,
    pub(super) id: ConnKey,
}

/// A socket, and the data that it has not taken.
pub(super) struct Outlet<S> {
    socket: S,
    backlog: Option<Box<Backlog<S>>>,
}

/// The data that waits. It is allocated only while something waits, so an idle connection does not
/// pay for it.
struct Backlog<S> {
    queue: SendQueue,
    waker: Arc<WriteWaker<S>>,
    /// When the connection is given up, unless it makes progress before.
    deadline: Duration,
    /// Whether progress no longer moves the deadline.
    is_deadline_final: bool,
    /// The bytes that the peer had acknowledged at the last check. `None` if there was no check
    /// since bytes last left for the socket, or if the number is not known.
    acknowledged: Option<u64>,
}

impl<S: Socket> Outlet<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, backlog: None }
    }

    /// Sets the socket of a connection that began without one. The timeouts begin now.
    pub(super) fn set_socket(&mut self, socket: S, timeout: Duration, ctx: &SendContext<S>) {
        self.socket = socket;
        if let Some(backlog) = &mut self.backlog {
            backlog.deadline = ctx.now + timeout;
            backlog.acknowledged = None;
        }
    }

    /// Whether something waits for the socket.
    #[inline]
    pub(super) fn has_backlog(&self) -> bool {
        self.backlog.is_some()
    }

    /// The socket, to write to while nothing waits.
    pub(super) fn socket(&self) -> &S {
        debug_assert!(self.backlog.is_none());
        &self.socket
    }

    /// Writes what the socket takes, while nothing waits. The caller hands the result to
    /// [`finish`](Self::finish) or [`finish_coded`](Self::finish_coded).
    pub(super) fn try_write(&mut self, frames: &[u8]) -> WriteResult {
        debug_assert!(self.backlog.is_none());
        self.socket.try_write(frames)
    }

    /// Queues a burst behind the data that waits.
    pub(super) fn queue(
        &mut self,
        conn: ConnRef<'_>,
        burst: &Burst,
        ctx: &mut SendContext<S>,
    ) -> Result<(), Failure> {
        self.enqueue(conn, burst.clone(), 0, ctx)
    }

    /// Queues the rest of a burst that the socket has not taken.
    pub(super) fn finish(
        &mut self,
        conn: ConnRef<'_>,
        burst: &Burst,
        result: WriteResult,
        ctx: &mut SendContext<S>,
    ) -> Result<(), Failure> {
        match self.note_written(result, burst.frames.len(), &mut ctx.tally) {
            Ok(None) => {
                ctx.tally.deliveries += burst.messages as u64;
                Ok(())
            }
            Ok(Some(written)) => self.enqueue(conn, burst.clone(), written, ctx),
            Err(failure) => {
                ctx.count_undelivered(burst.messages);
                Err(failure)
            }
        }
    }

    /// Queues the rest of `coded`, the compressed form of `burst`. If the socket has taken a part,
    /// the frame that was begun is finished as it is, and the frames behind it wait plain: a queue
    /// may drop them, and no frame that the client gets later refers to them.
    pub(super) fn finish_coded(
        &mut self,
        conn: ConnRef<'_>,
        burst: &Burst,
        coded: &Bytes,
        result: WriteResult,
        ctx: &mut SendContext<S>,
    ) -> Result<CodedWrite, Failure> {
        let written = match self.note_written(result, coded.len(), &mut ctx.tally) {
            Ok(Some(0)) => {
                self.enqueue(conn, burst.clone(), 0, ctx)?;
                return Ok(CodedWrite::Nothing);
            }
            Ok(Some(written)) => written,
            Ok(None) => {
                ctx.tally.deliveries += burst.messages as u64;
                return Ok(CodedWrite::All);
            }
            Err(failure) => {
                ctx.count_undelivered(burst.messages);
                return Err(failure);
            }
        };
        let begun_end = frame::frame_end(coded, written);
        let begun = frame::count_within(coded, begun_end);
        if begun == burst.messages {
            let burst = Burst { frames: coded.clone(), messages: begun };
            self.enqueue(conn, burst, written, ctx)?;
            return Ok(CodedWrite::All);
        }
        let skipped: usize = frame::each(&burst.frames).take(begun).map(<[u8]>::len).sum();
        let frames = [&coded[..begun_end], &burst.frames[skipped..]].concat();
        let burst = Burst { frames: frames.into(), messages: burst.messages };
        self.enqueue(conn, burst, written, ctx)?;
        Ok(CodedWrite::Cut)
    }

    /// Queues a pong; `true` if it replaced an older one.
    pub(super) fn pong(
        &mut self,
        conn: ConnRef<'_>,
        frame: Bytes,
        ctx: &mut SendContext<S>,
    ) -> Result<bool, Failure> {
        let replaced = self.requeue(conn, ctx, |queue| queue.push_pong(frame));
        self.flush(conn, ctx).map(|_| replaced)
    }

    /// Queues a ping.
    pub(super) fn ping(
        &mut self,
        conn: ConnRef<'_>,
        frame: Bytes,
        ctx: &mut SendContext<S>,
    ) -> Result<bool, Failure> {
        self.requeue(conn, ctx, |queue| queue.push_ping(frame));
        self.flush(conn, ctx)
    }

    /// Changes the queue, and notes the new amount of data.
    fn requeue<V>(
        &mut self,
        conn: ConnRef<'_>,
        ctx: &mut SendContext<S>,
        change: impl FnOnce(&mut SendQueue) -> V,
    ) -> V {
        let queue = &mut self.backlog(conn, ctx).queue;
        let before = queue.data_bytes();
        let result = change(queue);
        ctx.requeued(conn.link, before, queue.data_bytes());
        result
    }

    /// Queues the close frame behind all else, if there is one; `true` if all has left. With a
    /// close frame, the write timeout begins anew, and again after each progress.
    pub(super) fn farewell(
        &mut self,
        conn: ConnRef<'_>,
        close: Option<Bytes>,
        ctx: &mut SendContext<S>,
    ) -> Result<bool, Failure> {
        if let Some(close) = close {
            let backlog = self.backlog(conn, ctx);
            backlog.queue.push_close(close);
            backlog.extend(ctx);
        }
        self.flush(conn, ctx)
    }

    /// Whether [`set_final_deadline`](Self::set_final_deadline) was called while something waited.
    pub(super) fn has_final_deadline(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| backlog.is_deadline_final)
    }

    /// From now on, the connection is due to end if data still waits after `timeout`. Progress no
    /// longer moves the deadline.
    pub(super) fn set_final_deadline(&mut self, timeout: Duration, ctx: &SendContext<S>) {
        if let Some(backlog) = &mut self.backlog {
            backlog.deadline = ctx.now + timeout;
            backlog.is_deadline_final = true;
        }
    }

    /// Writes as much waiting data as the socket takes; `true` if nothing waits any more.
    pub(super) fn flush(
        &mut self,
        conn: ConnRef<'_>,
        ctx: &mut SendContext<S>,
    ) -> Result<bool, Failure> {
        let Some(backlog) = &mut self.backlog else {
            return Ok(true);
        };
        backlog.waker.rearm();
        let waker = Waker::from(backlog.waker.clone());
        let mut cx = Context::from_waker(&waker);
        while !backlog.queue.is_empty() {
            let mut buffers = [IoSlice::new(&[]); WRITE_SLOTS_MAX];
            let filled = backlog.queue.fill(&mut buffers);
            let Poll::Ready(result) = self.socket.poll_write(&mut cx, &buffers[..filled]) else {
                return Ok(false);
            };
            let written = taken(result)?;
            ctx.tally.wrote(written);
            let before = backlog.queue.data_bytes();
            backlog.queue.advance(written);
            ctx.requeued(conn.link, before, backlog.queue.data_bytes());
            backlog.extend(ctx);
        }
        if !is_flushed(&mut self.socket, &mut cx)? {
            return Ok(false);
        }
        self.backlog = None;
        ctx.blocked.remove(&conn.slot);
        Ok(true)
    }

    /// Drops the queued data, except for the rest of a torn frame.
    pub(super) fn discard_data(&mut self, link: &Link, ctx: &mut SendContext<S>) -> Amount {
        let Some(backlog) = &mut self.backlog else { return Amount::default() };
        let before = backlog.queue.data_bytes();
        let discarded = backlog.queue.discard_data();
        ctx.requeued(link, before, backlog.queue.data_bytes());
        discarded
    }

    /// The amount of waiting data.
    pub(super) fn queued(&self) -> Amount {
        self.backlog.as_ref().map_or_else(Amount::default, |backlog| backlog.queue.queued())
    }

    /// The bytes of the waiting buffers. Each buffer is freed when it has left.
    pub(super) fn queued_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.queue.data_bytes())
    }

    /// Whether the connection has made no progress for too long.
    ///
    /// Bytes that leave for the socket are progress. Bytes that the peer acknowledges are progress
    /// too: the kernel may hold more than a slow link takes in the write timeout. If the policy
    /// keeps slow clients, an open connection may go without progress while its client answers.
    pub(super) fn is_stalled(&mut self, is_open: bool, ctx: &SendContext<S>) -> bool {
        let Some(backlog) = &mut self.backlog else { return false };
        if !self.socket.is_there() {
            return false;
        }
        // A check costs a system call. The first one notes the number; the next is needed only near
        // the deadline.
        let is_late = backlog.deadline <= ctx.now + ctx.write_timeout / 2;
        if !backlog.is_deadline_final && (is_late || backlog.acknowledged.is_none()) {
            let acknowledged = self.socket.acknowledged().map(|acknowledged| acknowledged.bytes);
            if backlog.acknowledged.is_some_and(|before| acknowledged > Some(before)) {
                backlog.extend(ctx);
            }
            backlog.acknowledged = acknowledged;
        }
        if backlog.deadline > ctx.now {
            return false;
        }
        let stays = is_open && is_kept(&self.socket, ctx);
        if stays {
            backlog.extend(ctx);
        }
        !stays
    }

    /// Whether the client is silent because it is slow: something waits for it, perhaps a ping, and
    /// it still answers.
    pub(super) fn is_silent_for_slowness(&self, ctx: &SendContext<S>) -> bool {
        ctx.limits.overflow.keeps_slow_clients()
            && (self.backlog.is_some() || self.is_unacknowledged())
            && is_kept(&self.socket, ctx)
    }

    /// Whether the peer still has to acknowledge written bytes.
    pub(super) fn is_unacknowledged(&self) -> bool {
        self.socket.acknowledged().is_some_and(|acknowledged| !acknowledged.is_all)
    }

    /// Whether received bytes wait to be read.
    pub(super) fn has_unread(&self) -> bool {
        self.socket.has_unread()
    }

    /// Ends the stream to the peer.
    pub(super) fn shut_down(&mut self) {
        self.socket.shut_down();
    }

    /// Gives up the socket, and returns the data that is lost with it.
    pub(super) fn abort(&mut self, conn: ConnRef<'_>, ctx: &mut SendContext<S>) -> Amount {
        self.socket.abort();
        ctx.blocked.remove(&conn.slot);
        let lost = self.queued();
        ctx.requeued(conn.link, self.queued_bytes(), 0);
        self.backlog = None;
        lost
    }

    /// Notes a write of so many bytes. Returns `None` if all was taken and flushed, otherwise the
    /// bytes that were taken.
    fn note_written(
        &mut self,
        result: WriteResult,
        bytes: usize,
        tally: &mut Tally,
    ) -> Result<Option<usize>, Failure> {
        let Poll::Ready(result) = result else {
            return Ok(Some(0));
        };
        let mut cx = Context::from_waker(Waker::noop());
        let written = taken(result)?;
        tally.wrote(written);
        let is_out = written == bytes && is_flushed(&mut self.socket, &mut cx)?;
        Ok((!is_out).then_some(written))
    }

    fn enqueue(
        &mut self,
        conn: ConnRef<'_>,
        burst: Burst,
        written: usize,
        ctx: &mut SendContext<S>,
    ) -> Result<(), Failure> {
        let limits = ctx.limits;
        let messages = burst.messages;
        let bytes = burst.frames.len();
        let had_backlog = self.backlog.is_some();
        let pushed = self.requeue(conn, ctx, |queue| {
            if had_backlog {
                queue.push(burst, &limits)
            } else {
                // If only the flush is owed, `written` is the whole burst: nothing stays in the
                // queue, and the backlog remembers the flush.
                queue.start(burst, written, &limits)
            }
        });
        let counters = ctx.port.counters();
        match pushed {
            Pushed::Queued => ctx.tally.deliveries += messages as u64,
            Pushed::DroppedOldest(dropped) => {
                ctx.tally.deliveries += messages as u64;
                counters.dropped_oldest.add(dropped.messages as u64);
            }
            Pushed::DroppedNewest(dropped) => counters.dropped_newest.add(dropped.messages as u64),
            Pushed::Full => {
                let queued = self.queued();
                ctx.count_undelivered(messages);
                return Err(Failure::Full(Amount {
                    messages: queued.messages + messages,
                    bytes: queued.bytes + bytes,
                }));
            }
        }
        if had_backlog {
            return Ok(());
        }
        // So far the socket was only polled with a waker that does nothing.
        self.flush(conn, ctx).map(drop)
    }

    fn backlog(&mut self, conn: ConnRef<'_>, ctx: &mut SendContext<S>) -> &mut Backlog<S> {
        self.backlog.get_or_insert_with(|| {
            ctx.blocked.insert(conn.slot);
            Box::new(Backlog {
                queue: SendQueue::new(&ctx.limits),
                waker: Arc::new(WriteWaker::new(ctx.port.clone(), conn.id)),
                deadline: ctx.now + ctx.write_timeout,
                is_deadline_final: false,
                acknowledged: None,
            })
        })
    }
}

impl<S> Backlog<S> {
    /// Notes progress: the write timeout begins anew.
    fn extend(&mut self, ctx: &SendContext<S>) {
        if !self.is_deadline_final {
            self.deadline = ctx.now + ctx.write_timeout;
            self.acknowledged = None;
        }
    }
}

/// Whether the policy keeps slow clients, and this one still answers.
fn is_kept<S: Socket>(socket: &S, ctx: &SendContext<S>) -> bool {
    ctx.limits.overflow.keeps_slow_clients() && socket.is_answered(ctx.write_timeout) == Some(true)
}

/// Whether the socket holds nothing back.
fn is_flushed<S: Socket>(socket: &mut S, cx: &mut Context<'_>) -> Result<bool, Failure> {
    match socket.poll_flush(cx) {
        Poll::Pending => Ok(false),
        Poll::Ready(Ok(())) => Ok(true),
        Poll::Ready(Err(error)) => Err(Failure::Io(error.kind())),
    }
}

fn taken(result: io::Result<usize>) -> Result<usize, Failure> {
    match result {
        Ok(0) => Err(Failure::Io(io::ErrorKind::WriteZero)),
        Ok(written) => Ok(written),
        Err(error) => Err(Failure::Io(error.kind())),
    }
}

/// Pushes a command to the shard's inbox when a socket may take bytes again.
struct WriteWaker<S> {
    port: Arc<Port<S>>,
    id: ConnKey,
    /// Whether a command was pushed since the last flush: however often a runtime wakes, one
    /// command waits. The shard clears it, a waker sets it; it publishes nothing.
    is_notified: AtomicBool,
}

impl<S> WriteWaker<S> {
    fn new(port: Arc<Port<S>>, id: ConnKey) -> Self {
        Self { port, id, is_notified: AtomicBool::new(false) }
    }

    fn rearm(&self) {
        self.is_notified.store(false, Ordering::Relaxed);
    }
}

impl<S: Socket> Wake for WriteWaker<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_notified.swap(true, Ordering::Relaxed) {
            self.port.inbox().push(Command::Writable(self.id));
        }
    }
}
