//! The reader of a connection: it reads bytes from the stream, decodes them, and returns one event
//! a call.
//!
//! A reader owns no buffer. It reads into a buffer that all connections of a worker thread share.
//! It keeps bytes of its own only while a frame is incomplete (in the decoder), or while a read has
//! brought more events than were asked for.
//!
//! The decoder keeps the rules of frames (RFC 6455, sections 5.2 to 5.6). [`FrameReader::drain`] is
//! the reader's part of closing: read until the client has closed, so that the connection ends
//! without a reset (RFC 6455, sections 5.5.1 and 7.1.1; RFC 9293, section 3.6.1).

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::task::coop;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::client_limits::{ClientLimits, Liveness, Meter, Rates};
use super::stream::ReadHalf;
use crate::engine::{Acknowledged, Link, Stage};
use crate::ws::{DecodeLimits, Decoder, Event, OnCompressed, ProtocolError};

/// The size of the buffer that a worker thread lends to its readers. A message of the default
/// limit, with its header, needs two reads.
const SCRATCH_BYTES: usize = 64 * 1024;

/// The number of checks of a closing connection for progress, within its patience. Checks are
/// counted instead of time, because a process that was stopped has not waited.
const CHECKS: u32 = 8;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// The reason why there is no next event.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The shard has ended the connection.
    Ended,
    /// The client has broken the protocol, or exceeded a limit.
    Protocol(ProtocolError),
    /// The stream failed, or ended without a close frame.
    Io(io::ErrorKind),
}

/// The limits on what a client may send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadLimits {
    /// The limits of one message.
    pub(crate) decode: DecodeLimits,
    /// How long a message may take from its first byte to its last.
    pub(crate) message_timeout: Duration,
    /// The rates of messages and bytes.
    pub(crate) rates: Rates,
}

/// The liveness of a connection that is closing: nothing is reported.
struct Unwatched;

impl Liveness for Unwatched {
    fn heard(&self) {}

    fn lateness(&self) -> Duration {
        Duration::ZERO
    }
}

/// Reads the events of one client. Every idle connection holds a reader, so it must be small: the
/// limits come with each call, and what only a busy reader needs is boxed.
pub(crate) struct FrameReader {
    half: ReadHalf,
    decoder: Decoder,
    /// The bytes that were read and are not decoded yet.
    pending: Option<Box<Pending>>,
    client_limits: Option<Box<ClientLimits>>,
}

impl FrameReader {
    /// Makes a reader of `half`. `early` are bytes that were read before the upgrade was complete.
    pub(crate) fn new(
        half: ReadHalf,
        early: &[u8],
        limits: &ReadLimits,
        on_compressed: OnCompressed,
    ) -> Self {
        Self {
            half,
            decoder: Decoder::new(on_compressed),
            pending: Pending::new(early),
            client_limits: ClientLimits::new(limits.rates),
        }
    }

    /// Passes the next event to `take` and returns its result. The waker is also woken when the
    /// shard ends the connection.
    ///
    /// Keep all state in the reader: state in the caller's future would add memory to every idle
    /// connection.
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
        if let Some(meter) = ClientLimits::meter(&mut self.client_limits) {
            meter.resume(liveness);
        }
        let taken = self.poll_event(cx, &limits.decode, liveness, &mut Some(take));
        if taken.is_ready() {
            self.pause();
            return taken;
        }
        if let Poll::Ready(overdue) = self.poll_overdue(cx, limits.message_timeout) {
            return Poll::Ready(Err(ReadError::Protocol(overdue)));
        }
        link.watch_stage(cx.waker());
        // The stage may have changed before it was watched.
        match link.stage() {
            Stage::Open => Poll::Pending,
            _ => Poll::Ready(Err(ReadError::Ended)),
        }
    }

    /// Whether the last read has brought bytes that are not decoded yet.
    pub(crate) fn has_more(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether the reader waits only for the client and the shard: no message is incomplete.
    ///
    /// `false` for streams of unknown type. They may not belong to the runtime of the session, so
    /// the end of the runtime may not wake what waits for them.
    pub(crate) fn may_rest(&self) -> bool {
        self.decoder.is_idle() && !self.has_more() && !matches!(self.half, ReadHalf::Any(_))
    }

    /// Begins to read while a callback runs: the rates are checked when the callback is over.
    pub(crate) fn be_lenient(&mut self) {
        if let Some(meter) = ClientLimits::meter(&mut self.client_limits) {
            meter.be_lenient();
        }
    }

    /// Whether the client is over its rates for now. Then no more must be read while the callback
    /// runs.
    pub(crate) fn is_over_rate(&mut self) -> bool {
        ClientLimits::meter(&mut self.client_limits).is_some_and(|meter| meter.is_owed())
    }

    /// Ends the reading during a callback: the time of the callback adds tokens to the client's
    /// rates.
    pub(crate) fn be_strict(&mut self, liveness: &impl Liveness) -> Result<(), ReadError> {
        match ClientLimits::meter(&mut self.client_limits) {
            Some(meter) => meter.be_strict(liveness).map_err(ReadError::Protocol),
            None => Ok(()),
        }
    }

    /// Notes that reading stops for a reason for which the client is not to blame: its time for the
    /// rest of a message starts anew.
    pub(crate) fn forgive(&mut self) {
        ClientLimits::forget_deadline(&mut self.client_limits);
    }

    fn pause(&mut self) {
        if let Some(meter) = ClientLimits::meter(&mut self.client_limits) {
            meter.pause();
        }
        // Control frames between the fragments of a message do not extend its time.
        if !self.decoder.message_is_open() {
            ClientLimits::forget_deadline(&mut self.client_limits);
        }
    }

    /// Ready when the client takes too long over the message that has begun. Called when all bytes
    /// that have arrived are decoded.
    fn poll_overdue(
        &mut self,
        cx: &mut Context<'_>,
        message_timeout: Duration,
    ) -> Poll<ProtocolError> {
        // If the task has used up its budget, tokio did not read the socket.
        if coop::has_budget_remaining()
            && let Some(meter) = ClientLimits::meter(&mut self.client_limits)
        {
            meter.drained();
        }
        if self.decoder.is_idle() {
            ClientLimits::forget_deadline(&mut self.client_limits);
            return Poll::Pending;
        }
        ClientLimits::poll_overdue(&mut self.client_limits, cx, message_timeout)
    }

    /// Reads and discards bytes until the client has closed. A socket that is closed earlier would
    /// reset the connection at the client's next byte, and the client would lose what it has not
    /// read yet.
    ///
    /// After the close frame was sent, the client has `patience` to acknowledge more bytes. Each
    /// acknowledgement starts `patience` anew, and the last one leaves `patience` to close.
    pub(crate) async fn drain(mut self, link: &Link, limits: &ReadLimits, patience: Duration) {
        self.client_limits = None;
        #[cfg(feature = "deflate")]
        self.decoder.skip_compressed();
        let mut has_closed = false;
        let mut checks = None;
        poll_fn(|cx| {
            link.watch_stage(cx.waker());
            has_closed = has_closed || self.poll_closed(cx, &limits.decode).is_ready();
            match link.stage() {
                Stage::Flushed if !has_closed => {}
                Stage::Flushed | Stage::Cut => return Poll::Ready(()),
                _ => return Poll::Pending,
            }
            let checks = checks.get_or_insert_with(|| ProgressChecks::begin(patience));
            checks.poll_given_up(cx, || self.half.acknowledged())
        })
        .await;
    }

    fn poll_event<R, F: FnOnce(Event<'_>) -> R>(
        &mut self,
        cx: &mut Context<'_>,
        limits: &DecodeLimits,
        liveness: &impl Liveness,
        take: &mut Option<F>,
    ) -> Poll<Result<R, ReadError>> {
        loop {
            if let Some(taken) = self.decode_pending(limits, liveness, take)? {
                return Poll::Ready(Ok(taken));
            }
            if let Some(taken) = ready!(self.poll_read(cx, limits, liveness, take))? {
                return Poll::Ready(Ok(taken));
            }
        }
    }

    fn decode_pending<R, F: FnOnce(Event<'_>) -> R>(
        &mut self,
        limits: &DecodeLimits,
        liveness: &impl Liveness,
        take: &mut Option<F>,
    ) -> Result<Option<R>, ReadError> {
        let Self { decoder, pending, client_limits, .. } = self;
        let mut input = pending.as_mut().map_or(&mut [][..], |pending| pending.bytes());
        // Called even if nothing is pending: it frees the payload that the last event had borrowed.
        let taken = decode(decoder, limits, client_limits, liveness, &mut input, take)?;
        let left = input.len();
        if let Some(some) = pending
            && some.keep(left).is_empty()
        {
            *pending = None;
        }
        Ok(taken)
    }

    fn poll_read<R, F: FnOnce(Event<'_>) -> R>(
        &mut self,
        cx: &mut Context<'_>,
        limits: &DecodeLimits,
        liveness: &impl Liveness,
        take: &mut Option<F>,
    ) -> Poll<Result<Option<R>, ReadError>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let filled = poll_fill(&mut self.half, cx, scratch);
            let overhead = self.half.take_overhead();
            let payload = if let Poll::Ready(Ok(input)) = &filled { input.len() } else { 0 };
            if overhead + payload > 0
                && let Some(meter) = ClientLimits::meter(&mut self.client_limits)
            {
                meter.count_bytes(overhead + payload, liveness).map_err(ReadError::Protocol)?;
            }
            let mut input = ready!(filled)?;
            liveness.heard();
            let Self { decoder, client_limits, .. } = self;
            let taken = decode(decoder, limits, client_limits, liveness, &mut input, take)?;
            self.pending = Pending::new(input);
            Poll::Ready(Ok(taken))
        })
    }

    /// Ready when the client's close frame or the end of its stream has arrived. If the client
    /// breaks the protocol, only the end of its stream counts.
    fn poll_closed(&mut self, cx: &mut Context<'_>, limits: &DecodeLimits) -> Poll<()> {
        loop {
            let is_close = |event: Event<'_>| matches!(event, Event::Close(_));
            match ready!(self.poll_event(cx, limits, &Unwatched, &mut Some(is_close))) {
                Ok(true) => return Poll::Ready(()),
                Ok(false) => {}
                Err(ReadError::Protocol(_)) => self.pending = None,
                Err(ReadError::Io(_) | ReadError::Ended) => return Poll::Ready(()),
            }
        }
    }
}

/// Bytes that one read has brought, and that are not decoded yet.
struct Pending {
    read: Box<[u8]>,
    next: usize,
}

impl Pending {
    /// `None` if there are no bytes.
    fn new(bytes: &[u8]) -> Option<Box<Self>> {
        (!bytes.is_empty()).then(|| Box::new(Self { read: bytes.into(), next: 0 }))
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.read[self.next..]
    }

    /// Keeps only the last `left` bytes.
    fn keep(&mut self, left: usize) -> &[u8] {
        self.next = self.read.len() - left;
        &self.read[self.next..]
    }
}

/// The checks of a closing connection. The connection is given up after [`CHECKS`] checks without
/// progress.
struct ProgressChecks {
    timer: Interval,
    acknowledged: Option<u64>,
    left: u32,
}

impl ProgressChecks {
    fn begin(patience: Duration) -> Self {
        let mut timer = interval((patience / CHECKS).max(Duration::from_millis(1)));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { timer, acknowledged: None, left: CHECKS }
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
            self.left = if has_progressed { CHECKS } else { self.left - 1 };
        }
        Poll::Ready(())
    }
}

fn decode<R, F: FnOnce(Event<'_>) -> R>(
    decoder: &mut Decoder,
    limits: &DecodeLimits,
    client_limits: &mut Option<Box<ClientLimits>>,
    liveness: &impl Liveness,
    input: &mut &mut [u8],
    take: &mut Option<F>,
) -> Result<Option<R>, ReadError> {
    let taken = decoder.decode(input, limits, |event| {
        if let Some(meter) = ClientLimits::meter(client_limits) {
            count(&event, meter, liveness)?;
        }
        Ok(take.take().expect("an event ends the call")(event))
    });
    taken.map_err(ReadError::Protocol)?.transpose().map_err(ReadError::Protocol)
}

/// Counts an event against the rates of the client.
fn count(
    event: &Event<'_>,
    meter: &mut Meter,
    liveness: &impl Liveness,
) -> Result<(), ProtocolError> {
    match event {
        // A close frame does not count: a client that closes must not be closed for its rate.
        Event::Close(_) => return Ok(()),
        // The compressed bytes were counted when they were read. What the message is longer counts
        // as if the client had sent it, or compression would multiply the rate.
        Event::Message { payload, compressed_bytes: Some(compressed_bytes), .. } => {
            let inflated = payload.len().saturating_sub(compressed_bytes.get());
            meter.count_bytes(inflated, liveness)?;
        }
        _ => {}
    }
    meter.count_message(liveness)
}

/// Returns the bytes of one read. They are never empty.
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
