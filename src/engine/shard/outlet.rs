//! The way out of one connection: write at once, or wait in its queue.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;

use crate::engine::command::Command;
use crate::engine::link::ConnKey;
use crate::engine::port::Port;
use crate::engine::send_queue::{Amount, Burst, Pushed, QueueLimits, SendQueue, WRITE_SLOTS_MAX};
use crate::engine::socket::Socket;
use crate::engine::sync::{AtomicBool, Ordering};

/// What sending needs of the shard, besides the connection itself.
pub(super) struct Post<S> {
    pub(super) port: Arc<Port<S>>,
    pub(super) limits: QueueLimits,
    pub(super) write_timeout: Duration,
    pub(super) now: Duration,
    pub(super) tally: Tally,
    /// Slots of the connections that have something queued.
    pub(super) blocked: BTreeSet<u32>,
    /// How many of them the counters know of.
    pub(super) blocked_told: usize,
    /// Bytes of data in all queues, and what of them the budget of the hub knows of.
    pub(super) queued_bytes: usize,
    pub(super) queued_bytes_told: usize,
}

impl<S> Post<S> {
    /// Counts messages that end their connection: handed to it, and lost with it.
    fn count_undelivered(&mut self, messages: usize) {
        self.tally.deliveries += messages as u64;
        self.port.counters().dropped_at_end.add(messages as u64);
    }

    /// Notes how the data of a queue has changed.
    fn requeued(&mut self, before: usize, after: usize) {
        self.queued_bytes = self.queued_bytes + after - before;
    }

    /// Tells the budget of the hub.
    pub(super) fn publish_queued(&mut self) {
        let budget = self.port.queued_bytes();
        let (told, queued) = (self.queued_bytes_told, self.queued_bytes);
        if queued > told {
            budget.take(queued - told);
        } else if queued < told {
            budget.give_back(told - queued);
        }
        self.queued_bytes_told = queued;
    }

    /// Tells the counters.
    pub(super) fn publish_blocked(&mut self) {
        let (told, blocked) = (self.blocked_told, self.blocked.len());
        let counter = &self.port.counters().blocked;
        if blocked > told {
            counter.add((blocked - told) as u64);
        } else if blocked < told {
            counter.sub((told - blocked) as u64);
        }
        self.blocked_told = blocked;
    }

    /// The queues go, and all that is in them.
    pub(super) fn forget_queued(&mut self) {
        self.blocked.clear();
        self.publish_blocked();
        self.queued_bytes = 0;
        self.publish_queued();
    }
}

/// Counts of a slice of work, added to the shared counters at its end: one atomic add a slice
/// instead of three a write.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) deliveries: u64,
    pub(super) writes: u64,
    pub(super) bytes_out: u64,
}

impl Tally {
    fn wrote(&mut self, bytes: usize) {
        self.writes += 1;
        self.bytes_out += bytes as u64;
    }
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Its queue is full; with what was queued, the new burst included.
    Full(Amount),
    /// Its socket has failed.
    Io(io::ErrorKind),
}

/// A socket, and what it has not taken.
pub(super) struct Outlet<S> {
    socket: S,
    backlog: Option<Box<Backlog<S>>>,
}

/// Exists only while something waits, so an idle connection does not pay for it.
struct Backlog<S> {
    queue: SendQueue,
    waker: Arc<WriteWaker<S>>,
    /// When the connection is given up, unless bytes leave before.
    deadline: Duration,
    /// Whether the close frame waits: then the deadline stands, bytes or not.
    is_final: bool,
}

impl<S: Socket> Outlet<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, backlog: None }
    }

    /// Writes the burst, or queues what the socket does not take of it.
    pub(super) fn send(
        &mut self,
        at: (u32, ConnKey),
        burst: &Burst,
        post: &mut Post<S>,
    ) -> Result<(), Failure> {
        let written = if self.backlog.is_some() {
            0
        } else {
            match self.write_now(&burst.frames, &mut post.tally) {
                Ok(Some(written)) => written,
                Ok(None) => {
                    post.tally.deliveries += burst.messages as u64;
                    return Ok(());
                }
                Err(failure) => {
                    post.count_undelivered(burst.messages);
                    return Err(failure);
                }
            }
        };
        self.enqueue(at, burst.clone(), written, post)
    }

    /// Queues a pong; `true` if an older one was replaced.
    pub(super) fn pong(
        &mut self,
        at: (u32, ConnKey),
        frame: Bytes,
        post: &mut Post<S>,
    ) -> Result<bool, Failure> {
        let replaced = self.backlog(at, post).queue.push_pong(frame);
        self.flush(at.0, post).map(|_| replaced)
    }

    /// Queues a ping.
    pub(super) fn ping(
        &mut self,
        at: (u32, ConnKey),
        frame: Bytes,
        post: &mut Post<S>,
    ) -> Result<bool, Failure> {
        self.backlog(at, post).queue.push_ping(frame);
        self.flush(at.0, post)
    }

    /// Queues the close frame behind all else, to leave before `deadline`; `true` if it has left.
    pub(super) fn farewell(
        &mut self,
        at: (u32, ConnKey),
        frame: Bytes,
        deadline: Duration,
        post: &mut Post<S>,
    ) -> Result<bool, Failure> {
        let backlog = self.backlog(at, post);
        backlog.queue.push_close(frame);
        backlog.deadline = deadline;
        backlog.is_final = true;
        self.flush(at.0, post)
    }

    /// Writes what waits, as far as the socket takes it; `true` if nothing waits any more.
    pub(super) fn flush(&mut self, slot: u32, post: &mut Post<S>) -> Result<bool, Failure> {
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
            post.tally.wrote(written);
            let before = backlog.queue.data_bytes();
            backlog.queue.advance(written);
            post.requeued(before, backlog.queue.data_bytes());
            if !backlog.is_final {
                backlog.deadline = post.now + post.write_timeout;
            }
        }
        if !is_flushed(&mut self.socket, &mut cx)? {
            return Ok(false);
        }
        self.backlog = None;
        post.blocked.remove(&slot);
        Ok(true)
    }

    /// Throws queued data away, but for the rest of a torn frame.
    pub(super) fn discard_data(&mut self, post: &mut Post<S>) -> Amount {
        let Some(backlog) = &mut self.backlog else { return Amount::default() };
        let before = backlog.queue.data_bytes();
        let discarded = backlog.queue.discard_data();
        post.requeued(before, backlog.queue.data_bytes());
        discarded
    }

    /// What waits.
    pub(super) fn queued(&self) -> Amount {
        self.backlog.as_ref().map_or_else(Amount::default, |backlog| backlog.queue.queued())
    }

    /// The bytes of the buffers that wait, which go one by one when they have left.
    pub(super) fn queued_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.queue.data_bytes())
    }

    /// What waits, if the deadline for some progress has passed.
    pub(super) fn stalled(&self, now: Duration) -> Option<Amount> {
        let backlog = self.backlog.as_ref()?;
        (backlog.deadline <= now).then(|| self.queued())
    }

    /// Tells the peer that nothing more will come.
    pub(super) fn shut_down(&mut self) {
        self.socket.shut_down();
    }

    /// Gives the socket up, and returns the data that is lost with it.
    pub(super) fn abort(&mut self, slot: u32, post: &mut Post<S>) -> Amount {
        self.socket.abort();
        post.blocked.remove(&slot);
        let lost = self.queued();
        post.requeued(self.queued_bytes(), 0);
        self.backlog = None;
        lost
    }

    /// How many bytes the socket took at once: `None` means all.
    fn write_now(&mut self, frames: &Bytes, tally: &mut Tally) -> Result<Option<usize>, Failure> {
        let Poll::Ready(result) = self.socket.try_write(frames) else {
            return Ok(Some(0));
        };
        let mut cx = Context::from_waker(Waker::noop());
        let written = taken(result)?;
        tally.wrote(written);
        let is_out = written == frames.len() && is_flushed(&mut self.socket, &mut cx)?;
        Ok((!is_out).then_some(written))
    }

    fn enqueue(
        &mut self,
        at: (u32, ConnKey),
        burst: Burst,
        written: usize,
        post: &mut Post<S>,
    ) -> Result<(), Failure> {
        let limits = post.limits;
        let messages = burst.messages;
        let bytes = burst.frames.len();
        let had_backlog = self.backlog.is_some();
        let queue = &mut self.backlog(at, post).queue;
        let before = queue.data_bytes();
        let pushed = match had_backlog {
            true => queue.push(burst, &limits),
            // Bytes that have left are queued all the same where a flush is still owed.
            false => queue.start(burst, written, &limits),
        };
        let after = queue.data_bytes();
        post.requeued(before, after);
        let counters = post.port.counters();
        match pushed {
            Pushed::Queued => post.tally.deliveries += messages as u64,
            Pushed::DroppedOldest(dropped) => {
                post.tally.deliveries += messages as u64;
                counters.dropped_oldest.add(dropped.messages as u64);
            }
            Pushed::DroppedNewest(dropped) => counters.dropped_newest.add(dropped.messages as u64),
            Pushed::Full => {
                let queued = queue.queued();
                post.count_undelivered(messages);
                return Err(Failure::Full(Amount {
                    messages: queued.messages + messages,
                    bytes: queued.bytes + bytes,
                }));
            }
        }
        if had_backlog {
            return Ok(());
        }
        // The socket has only been polled with a waker that does nothing.
        self.flush(at.0, post).map(drop)
    }

    fn backlog(&mut self, (slot, id): (u32, ConnKey), post: &mut Post<S>) -> &mut Backlog<S> {
        self.backlog.get_or_insert_with(|| {
            post.blocked.insert(slot);
            Box::new(Backlog {
                queue: SendQueue::new(&post.limits),
                waker: Arc::new(WriteWaker::new(post.port.clone(), id)),
                deadline: post.now + post.write_timeout,
                is_final: false,
            })
        })
    }
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

/// Tells the shard, through its inbox, that a socket may take bytes again.
struct WriteWaker<S> {
    port: Arc<Port<S>>,
    id: ConnKey,
    /// Whether the inbox has been told since the last flush: however often a runtime wakes, one
    /// command waits. The shard clears it, a waker sets it; it publishes nothing.
    told: AtomicBool,
}

impl<S> WriteWaker<S> {
    fn new(port: Arc<Port<S>>, id: ConnKey) -> Self {
        Self { port, id, told: AtomicBool::new(false) }
    }

    fn rearm(&self) {
        self.told.store(false, Ordering::Relaxed);
    }
}

impl<S: Socket> Wake for WriteWaker<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.told.swap(true, Ordering::Relaxed) {
            self.port.inbox().push(Command::Writable(self.id));
        }
    }
}
