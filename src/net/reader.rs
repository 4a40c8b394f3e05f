//! The reading side of a connection: bytes from its stream, through the decoder, one event a call.
//!
//! A reader owns no buffer. It reads into one that all connections of a worker thread share, and
//! keeps bytes of its own only while a frame is incomplete (in the decoder) or while a read brought
//! more events than have been asked for.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::task::coop;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::guard::{Guard, Liveness, Rates};
use super::stream::ReadHalf;
use crate::engine::{Acknowledged, Link, Stage};
use crate::ws::{DecodeLimits, Decoder, Event, ProtocolError};

/// The buffer that a worker thread lends to its readers. A message of the default limit fits, with
/// its header, into two reads.
const SCRATCH_BYTES: usize = 64 * 1024;

/// How often a closing connection is looked at for progress, in its patience. Looks are counted, not
/// time: a process that was stopped in between has not waited.
const LOOKS: u32 = 8;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// Why there is no next event.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The shard has ended the connection.
    Ended,
    /// The client broke the protocol, or went past a limit.
    Protocol(ProtocolError),
    /// The stream failed, or ended without a close frame.
    Io(io::ErrorKind),
}

/// What a client may send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadLimits {
    /// What a message may be.
    pub(crate) decode: DecodeLimits,
    /// How long a message may take from its first byte to its last.
    pub(crate) message_timeout: Duration,
    /// How much may come in a time.
    pub(crate) rates: Rates,
}

/// For a client to which nobody listens any more.
struct Unwatched;

impl Liveness for Unwatched {
    fn heard(&self) {}

    fn lateness(&self) -> Duration {
        Duration::ZERO
    }
}

/// Reads the events of one client.
pub(crate) struct FrameReader {
    half: ReadHalf,
    decoder: Decoder,
    /// Bytes that were read and not yet decoded, from `next` on.
    pending: Box<[u8]>,
    next: usize,
    guard: Option<Box<Guard>>,
}

impl FrameReader {
    /// A reader of `half` that begins with the bytes that came before.
    pub(crate) fn new(half: ReadHalf, early: &[u8], limits: &ReadLimits) -> Self {
        Self {
            half,
            decoder: Decoder::new(limits.decode),
            pending: early.into(),
            next: 0,
            guard: Guard::new(limits.rates),
        }
    }

    /// The next event, as what `take` makes of it. The waker is also woken when the shard ends the connection.
    ///
    /// Nothing but the reader itself lives from one call to the next: that would count in every
    /// idle connection.
    pub(crate) fn poll_next<R>(
        &mut self,
        cx: &mut Context<'_>,
        link: &Link,
        limits: &ReadLimits,
        liveness: &impl Liveness,
        take: impl FnOnce(Event<'_>) -> R,
    ) -> Poll<Result<R, ReadError>> {
        if link.stage() > Stage::Open {
            return Poll::Ready(Err(ReadError::Ended));
        }
        if let Some(meter) = Guard::meter(&mut self.guard) {
            meter.resume(liveness);
        }
        let taken = self.poll_event(cx, liveness, &mut Some(take));
        if taken.is_ready() {
            self.pause();
            return taken;
        }
        if let Poll::Ready(overdue) = self.poll_overdue(cx, limits.message_timeout) {
            return Poll::Ready(Err(ReadError::Protocol(overdue)));
        }
        link.watch_stage(cx.waker());
        // It may have moved before it was watched.
        match link.stage() {
            Stage::Open => Poll::Pending,
            _ => Poll::Ready(Err(ReadError::Ended)),
        }
    }

    /// Whether the last read has brought more than the events so far.
    pub(crate) fn has_more(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Begins to read beside a callback: the rates wait for its end.
    pub(crate) fn be_lenient(&mut self) {
        if let Some(meter) = Guard::meter(&mut self.guard) {
            meter.be_lenient();
        }
    }

    /// Whether the client is over its rates for now, so that nothing is to be read beside the callback.
    pub(crate) fn is_over_rate(&mut self) -> bool {
        Guard::meter(&mut self.guard).is_some_and(|meter| meter.is_owed())
    }

    /// The callback is over: the time that it took counts for the rates of the client.
    pub(crate) fn be_strict(&mut self, liveness: &impl Liveness) -> Result<(), ReadError> {
        match Guard::meter(&mut self.guard) {
            Some(meter) => meter.be_strict(liveness).map_err(ReadError::Protocol),
            None => Ok(()),
        }
    }

    /// Notes that nobody will read for a while, for a reason that is not the client's: its time for the
    /// rest of a message begins anew.
    pub(crate) fn forgive(&mut self) {
        Guard::forget_deadline(&mut self.guard);
    }

    fn pause(&mut self) {
        if let Some(meter) = Guard::meter(&mut self.guard) {
            meter.pause();
        }
        // Control frames between the fragments of a message win no time for it.
        if !self.decoder.message_is_open() {
            Guard::forget_deadline(&mut self.guard);
        }
    }

    /// Ready when the client takes too long over the message that has begun; called when all that has
    /// come is decoded.
    fn poll_overdue(
        &mut self,
        cx: &mut Context<'_>,
        message_timeout: Duration,
    ) -> Poll<ProtocolError> {
        // Where the task's budget is used up, the socket was not asked.
        if coop::has_budget_remaining()
            && let Some(meter) = Guard::meter(&mut self.guard)
        {
            meter.drained();
        }
        if self.decoder.is_idle() {
            Guard::forget_deadline(&mut self.guard);
            return Poll::Pending;
        }
        Guard::poll_overdue(&mut self.guard, cx, message_timeout)
    }

    /// Reads and throws away until the client has closed: a socket that is closed before resets the
    /// connection at the client's next byte, and what it has not read yet is lost.
    ///
    /// After the close frame has left, a client has `patience` to acknowledge more of what was sent to
    /// it, as often as it does so, and once more to close.
    pub(crate) async fn drain(mut self, link: &Link, patience: Duration) {
        self.guard = None;
        let mut has_closed = false;
        let mut looks = None;
        poll_fn(|cx| {
            link.watch_stage(cx.waker());
            has_closed = has_closed || self.poll_closed(cx).is_ready();
            match link.stage() {
                Stage::Flushed if !has_closed => {}
                Stage::Flushed | Stage::Cut => return Poll::Ready(()),
                _ => return Poll::Pending,
            }
            let looks = looks.get_or_insert_with(|| Looks::begin(patience));
            looks.poll_given_up(cx, || self.half.acknowledged())
        })
        .await;
    }

    fn poll_event<R, F: FnOnce(Event<'_>) -> R>(
        &mut self,
        cx: &mut Context<'_>,
        liveness: &impl Liveness,
        take: &mut Option<F>,
    ) -> Poll<Result<R, ReadError>> {
        loop {
            if let Some(taken) = self.decode_pending(liveness, take)? {
                return Poll::Ready(Ok(taken));
            }
            if let Some(taken) = ready!(self.poll_read(cx, liveness, take))? {
                return Poll::Ready(Ok(taken));
            }
        }
    }

    fn decode_pending<R, F: FnOnce(Event<'_>) -> R>(
        &mut self,
        liveness: &impl Liveness,
        take: &mut Option<F>,
    ) -> Result<Option<R>, ReadError> {
        let mut input = &mut self.pending[self.next..];
        // Also with nothing pending: it frees what the last event had borrowed.
        let taken = decode(&mut self.decoder, &mut self.guard, liveness, &mut input, take)?;
        let left = input.len();
        self.next = self.pending.len() - left;
        if self.next == self.pending.len() {
            self.forget_pending();
        }
        Ok(taken)
    }

    fn forget_pending(&mut self) {
        self.pending = Box::default();
        self.next = 0;
    }

    fn poll_read<R, F: FnOnce(Event<'_>) -> R>(
        &mut self,
        cx: &mut Context<'_>,
        liveness: &impl Liveness,
        take: &mut Option<F>,
    ) -> Poll<Result<Option<R>, ReadError>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let filled = poll_fill(&mut self.half, cx, scratch);
            let overhead = self.half.take_overhead();
            let payload = if let Poll::Ready(Ok(input)) = &filled { input.len() } else { 0 };
            if overhead + payload > 0
                && let Some(meter) = Guard::meter(&mut self.guard)
            {
                meter.count_bytes(overhead + payload, liveness).map_err(ReadError::Protocol)?;
            }
            let mut input = ready!(filled)?;
            liveness.heard();
            let taken = decode(&mut self.decoder, &mut self.guard, liveness, &mut input, take)?;
            if !input.is_empty() {
                self.pending = (&*input).into();
            }
            Poll::Ready(Ok(taken))
        })
    }

    /// Ready when the client's close frame or the end of its stream has come. After a breach of the
    /// protocol only the latter counts.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let is_close = |event: Event<'_>| matches!(event, Event::Close(_));
            match ready!(self.poll_event(cx, &Unwatched, &mut Some(is_close))) {
                Ok(true) => return Poll::Ready(()),
                Ok(false) => {}
                Err(ReadError::Protocol(_)) => self.forget_pending(),
                Err(ReadError::Io(_) | ReadError::Ended) => return Poll::Ready(()),
            }
        }
    }
}

/// Looks at a closing connection, until it has made no progress for some of them.
struct Looks {
    timer: Interval,
    acknowledged: Option<u64>,
    left: u32,
}

impl Looks {
    fn begin(patience: Duration) -> Self {
        let mut timer = interval((patience / LOOKS).max(Duration::from_millis(1)));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { timer, acknowledged: None, left: LOOKS }
    }

    fn poll_given_up(
        &mut self,
        cx: &mut Context<'_>,
        acknowledged: impl Fn() -> Option<Acknowledged>,
    ) -> Poll<()> {
        while self.left > 0 {
            ready!(self.timer.poll_tick(cx));
            let acknowledged = acknowledged().map(|acknowledged| acknowledged.bytes);
            let has_progressed = acknowledged > self.acknowledged;
            self.acknowledged = acknowledged;
            self.left = if has_progressed { LOOKS } else { self.left - 1 };
        }
        Poll::Ready(())
    }
}

fn decode<R, F: FnOnce(Event<'_>) -> R>(
    decoder: &mut Decoder,
    guard: &mut Option<Box<Guard>>,
    liveness: &impl Liveness,
    input: &mut &mut [u8],
    take: &mut Option<F>,
) -> Result<Option<R>, ReadError> {
    let event = decoder.decode(input).map_err(ReadError::Protocol)?;
    let Some(event) = event else { return Ok(None) };
    // Who says goodbye is not to be told that it was one message too many.
    if let Some(meter) = Guard::meter(guard)
        && !matches!(event, Event::Close(_))
    {
        meter.count_message(liveness).map_err(ReadError::Protocol)?;
    }
    Ok(Some(take.take().expect("an event ends the call")(event)))
}

/// What one read has brought; never empty.
fn poll_fill<'a>(
    half: &mut ReadHalf,
    cx: &mut Context<'_>,
    scratch: &'a mut [u8],
) -> Poll<Result<&'a mut [u8], ReadError>> {
    let mut buffer = ReadBuf::new(scratch);
    let failure = match ready!(half.poll_read(cx, &mut buffer)) {
        Ok(()) if buffer.filled().is_empty() => io::ErrorKind::UnexpectedEof,
        Ok(()) => {
            let filled = buffer.filled().len();
            return Poll::Ready(Ok(&mut scratch[..filled]));
        }
        Err(error) => error.kind(),
    };
    Poll::Ready(Err(ReadError::Io(failure)))
}
