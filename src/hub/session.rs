//! The session of one connection: it reads, and calls the handler from `on_connect` to
//! `on_disconnect`.
//!
//! A client is quiet from its handshake until its first message, and again as soon as a pong, a ping
//! or a heartbeat follows a message. The session of a quiet client rests: it has no task, see
//! [`resting`](crate::runtime::resting).

mod incoming;
mod waiting;

use std::any::Any;
use std::future::poll_fn;
use std::mem;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::coop;

use self::incoming::{SessionEvent, poll_event};
use self::waiting::ended;
pub(super) use self::waiting::wait_until;
use super::{Conn, Handler, events};
use crate::engine::{Close, DisconnectReason};
use crate::net::FrameReader;
use crate::runtime::resting::{Bed, Resume};

/// The session of a connection. If the client is quiet, this is in a [`Bed`], so it must be small.
pub(super) struct Session<Out: 'static, In: Send + 'static, H> {
    handler: H,
    reader: FrameReader,
    /// Dropped last, so that a connection that is no longer counted has no socket.
    attached: Attached<Out, In>,
}

impl<Out: 'static, In: Send + 'static, H: Handler<Out, In>> Session<Out, In, H> {
    pub(super) fn new(attached: Attached<Out, In>, handler: H, reader: FrameReader) -> Self {
        Self { attached, handler, reader }
    }

    /// The first task of the session.
    pub(super) fn begin(self) -> impl Future<Output = ()> + Send {
        run(self, true)
    }
}

impl<Out: 'static, In: Send + 'static, H: Handler<Out, In>> Resume for Session<Out, In, H> {
    fn resume(self) -> impl Future<Output = ()> + Send + 'static {
        run(self, false)
    }
}

/// A task of a session.
///
/// Every client that is not quiet has one, so it must be small. Parts that are seldom needed are
/// boxed, also the future of a message: the box takes about 15 of the 400 ns that a message takes if
/// several were read together.
#[expect(clippy::manual_async_fn, reason = "an async fn would hold its arguments twice")]
fn run<Out: 'static, In: Send + 'static, H: Handler<Out, In>>(
    mut session: Session<Out, In, H>,
    is_new: bool,
) -> impl Future<Output = ()> + Send {
    async move {
        // Catches the panics of the application's code: of the codec, and of all callbacks but
        // `on_disconnect`.
        let bed = {
            let served = AssertUnwindSafe(serve(&mut session, is_new)).catch_unwind().await;
            rest_or_close(&session.attached.0, served)
        };
        match bed {
            Some(bed) => bed.rest(session),
            None => Box::pin(finish(session)).await,
        }
    }
}

/// Returns the bed of a session that rests. Otherwise closes the connection.
fn rest_or_close<Out: 'static, In: Send + 'static, S>(
    conn: &Conn<Out, In>,
    served: Result<Served<S>, Box<dyn Any + Send>>,
) -> Option<Arc<Bed<S>>> {
    let reason = match served {
        Ok(Served::Rests(bed)) => return Some(bed),
        Ok(Served::Ends(reason)) => reason,
        Err(payload) => {
            report_panic(conn, &*payload);
            Some(DisconnectReason::HandlerPanicked)
        }
    };
    if let Some(reason) = reason {
        conn.port().close(conn.key(), reason);
    }
    None
}

/// Why [`serve`] has returned.
enum Served<S> {
    /// The client is quiet: the session rests in this bed.
    Rests(Arc<Bed<S>>),
    /// The connection must end, with the reason; `None` if the shard has ended it.
    Ends(Option<DisconnectReason>),
}

/// Serves the client while it is active.
#[expect(clippy::manual_async_fn, reason = "an async fn would hold its arguments twice")]
fn serve<Out: 'static, In: Send + 'static, H: Handler<Out, In>>(
    session: &mut Session<Out, In, H>,
    is_new: bool,
) -> impl Future<Output = Served<Session<Out, In, H>>> + Send {
    async move {
        let Session { attached: Attached(conn), handler, reader } = session;
        if is_new {
            conn.span().enter(events::connected);
            if let Err(reason) = Box::pin(open(conn, handler, reader)).await {
                return Served::Ends(reason);
            }
        }
        let mut is_quiet = true;
        loop {
            // Back-pressure: the next message of this client would only add to the full inbox.
            if conn.hub().inner.shards.is_congested() {
                Box::pin(wait_for_relief(conn)).await;
                reader.forgive();
            }
            // A client that has sent much at once must not keep the worker thread from other tasks.
            coop::consume_budget().await;
            conn.port().hear(conn.link());
            let event = match poll_fn(|cx| poll_next(conn, reader, is_quiet, cx)).await {
                Next::Event(event) => event,
                Next::Rest(bed) => return Served::Rests(bed),
            };
            is_quiet = matches!(event, SessionEvent::Answered | SessionEvent::Handled);
            if is_quiet {
                continue;
            }
            let handling: BoxFuture<'_, SessionResult> =
                Box::pin(handle(event, conn, handler, reader));
            if let Err(reason) = handling.await {
                return Served::Ends(reason);
            }
        }
    }
}

/// What the session of an open connection does next.
enum Next<In, S> {
    Event(SessionEvent<In>),
    /// Nothing, until the waker of the bed is woken: the client is quiet.
    Rest(Arc<Bed<S>>),
}

/// Reads the next event, or finds that the session may rest.
fn poll_next<Out: 'static, In: Send + 'static, S: Resume>(
    conn: &Conn<Out, In>,
    reader: &mut FrameReader,
    is_quiet: bool,
    cx: &mut Context<'_>,
) -> Poll<Next<In, S>> {
    let event = poll_event(conn, reader, cx);
    let may_rest = event.is_pending() && is_quiet && reader.may_rest() && !conn.link().has_pong();
    if !may_rest {
        return event.map(Next::Event);
    }
    // Polled again, so that all that can wake the session has the waker of the bed.
    let bed = Bed::new();
    Poll::Ready(match poll_event(conn, reader, &mut Context::from_waker(&bed.waker())) {
        Poll::Ready(event) => Next::Event(event),
        Poll::Pending => Next::Rest(bed),
    })
}

/// `Ok` to go on. The error ends the connection, with the reason; `None` if the shard has ended it.
type SessionResult = Result<(), Option<DisconnectReason>>;

/// Calls `on_connect`, and then handles an event that was read meanwhile.
async fn open<Out: 'static, In: Send + 'static, H: Handler<Out, In>>(
    conn: &Conn<Out, In>,
    handler: &H,
    reader: &mut FrameReader,
) -> SessionResult {
    let (result, ahead) = {
        let callback = pin!(conn.span().instrument(handler.on_connect(conn)));
        read_beside(callback, conn, reader).await
    };
    #[cfg(feature = "test-util")]
    if let Some(opened) = conn.try_get::<crate::ws::OpenedSignal>() {
        opened.notify();
    }
    check_result(conn, "on_connect", result)?;
    match ahead {
        // Boxed because it is rare: its size would count in every call.
        Some(event) => Box::pin(handle(event, conn, handler, reader)).await,
        None => Ok(()),
    }
}

/// Turns the error of a callback into the end of the connection. The error is not reported if the
/// connection is already closing: that is the usual cause of the error, and no fault.
fn check_result<Out: 'static, In: Send + 'static>(
    conn: &Conn<Out, In>,
    callback: &'static str,
    result: Result<(), Close>,
) -> SessionResult {
    result.map_err(|close| {
        if !conn.link().is_closing() {
            report_error(conn, callback, &close);
        }
        Some(DisconnectReason::ClosedByServer(close))
    })
}

/// Counts and logs the error of a callback, unless the hub is closed: then callbacks fail without a
/// fault.
fn report_error<Out: 'static, In: Send + 'static>(
    conn: &Conn<Out, In>,
    callback: &'static str,
    close: &Close,
) {
    if !conn.hub().is_closed() {
        conn.hub().counters().callback_errors.add(1);
        conn.span().enter(|| events::callback_failed(callback, close));
    }
}

/// Calls the handler for an event, and then for each event that was read while the callback ran.
fn handle<'a, Out: 'static, In: Send + 'static, H: Handler<Out, In>>(
    first: SessionEvent<In>,
    conn: &'a Conn<Out, In>,
    handler: &'a H,
    reader: &'a mut FrameReader,
) -> impl Future<Output = SessionResult> + Send + 'a {
    let mut next = Some(first);
    async move {
        while let Some(event) = next.take() {
            next = match event {
                SessionEvent::Message(message) => {
                    let (result, ahead) = {
                        let callback = handler.on_message(conn, message);
                        let callback = pin!(conn.span().instrument(callback));
                        read_beside(callback, conn, reader).await
                    };
                    check_result(conn, "on_message", result)?;
                    ahead
                }
                SessionEvent::Undecodable(error) => {
                    let (result, ahead) = {
                        let callback = handler.on_decode_error(conn, error);
                        let callback = pin!(conn.span().instrument(callback));
                        read_beside(callback, conn, reader).await
                    };
                    check_result(conn, "on_decode_error", result)?;
                    ahead
                }
                SessionEvent::Answered | SessionEvent::Handled => None,
                SessionEvent::End(reason) => return Err(reason),
            };
            coop::consume_budget().await;
        }
        Ok(())
    }
}

/// How many pings and pongs are handled beside a callback before other tasks may run.
const EVENTS_PER_TURN_MAX: usize = 64;

/// The event that was read while a callback ran. It is handled next.
type ReadAhead<In> = Option<SessionEvent<In>>;

/// Runs a callback and reads from the client at the same time, so that pings are answered. The
/// reading stops at the first event that must wait for the callback, so that TCP slows the client
/// down.
///
/// The callback is pinned by the caller: this future would hold it twice.
async fn read_beside<Out: 'static, In: Send + 'static, F: Future>(
    mut callback: Pin<&mut F>,
    conn: &Conn<Out, In>,
    reader: &mut FrameReader,
) -> (F::Output, ReadAhead<In>) {
    let mut ahead = None;
    let mut has_read = false;
    let output = poll_fn(|cx| {
        if let Poll::Ready(output) = callback.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        if !mem::replace(&mut has_read, true) {
            reader.be_lenient();
        }
        for handled in 0.. {
            if handled == EVENTS_PER_TURN_MAX {
                cx.waker().wake_by_ref();
                break;
            }
            if ahead.is_some() || reader.is_over_rate() {
                break;
            }
            if conn.hub().inner.shards.is_congested() {
                reader.forgive();
                break;
            }
            let Poll::Ready(event) = poll_event(conn, reader, cx) else { break };
            if !matches!(event, SessionEvent::Answered | SessionEvent::Handled) {
                ahead = Some(event);
            }
        }
        // The hub does not read everything that arrives, so silence must not count.
        conn.link().pause_listening();
        Poll::Pending
    });
    let output = output.await;
    if has_read && let Err(error) = reader.be_strict(conn) {
        ahead = Some(SessionEvent::from_error(error));
    }
    (output, ahead)
}

/// Counts and logs a panic of a callback or of the codec.
fn report_panic<Out: 'static, In: Send + 'static>(
    conn: &Conn<Out, In>,
    payload: &(dyn Any + Send),
) {
    conn.hub().counters().handler_panics.add(1);
    conn.span().enter(|| events::panicked(payload));
}

/// Waits until the shards are no longer congested, or the connection has ended.
async fn wait_for_relief<Out: 'static, In: Send + 'static>(conn: &Conn<Out, In>) {
    tokio::select! {
        () = conn.hub().inner.shards.uncongested() => {}
        () = ended(conn.link()) => {}
    }
}

/// Waits until the shard has ended the connection. Then calls `on_disconnect`, and at the same time
/// waits until the close frame has reached the client.
async fn finish<Out: 'static, In: Send + 'static, H: Handler<Out, In>>(
    session: Session<Out, In, H>,
) {
    let Session { attached, handler, reader } = session;
    let conn = &attached.0;
    let link = conn.link();
    ended(link).await;
    let disconnect = async {
        let Some(end) = link.end() else { return };
        conn.span().enter(|| events::disconnected(&end.reason));
        let callback =
            async { conn.span().instrument(handler.on_disconnect(conn, &end.reason)).await };
        match AssertUnwindSafe(callback).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(close)) => report_error(conn, "on_disconnect", &close),
            Err(payload) => report_panic(conn, &*payload),
        }
    };
    let patience = patience(link.end().map(|end| &end.reason), conn.hub().inner.close_timeout);
    tokio::join!(disconnect, async {
        reader.drain(link, &conn.hub().inner.read_limits, patience).await;
        conn.port().detach(conn.key());
    });
}

/// A shorter [`patience`], for a client that has closed the connection itself, has broken a rule,
/// or was evicted. Only its own close has to arrive.
const SHORT_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a closing connection may make no progress before its socket is closed.
fn patience(reason: Option<&DisconnectReason>, close_timeout: Duration) -> Duration {
    match reason {
        Some(
            DisconnectReason::ClosedByClient(_)
            | DisconnectReason::Protocol(_)
            | DisconnectReason::OverLimit(_)
            | DisconnectReason::SlowClient { .. },
        ) => close_timeout.min(SHORT_CLOSE_TIMEOUT),
        _ => close_timeout,
    }
}

/// A connection that is attached to its shard and counted in its hub. Dropping it, however the task
/// ends, detaches and uncounts the connection.
pub(super) struct Attached<Out: 'static, In: Send + 'static>(pub(super) Conn<Out, In>);

impl<Out: 'static, In: Send + 'static> Drop for Attached<Out, In> {
    fn drop(&mut self) {
        self.0.port().detach(self.0.key());
        self.0.hub().end_session(self.0.remote_addr());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::hub::conn::tests::fits_into_hole;

    struct Quiet;

    impl Handler<String> for Quiet {}

    /// The bytes that a task of 256 bytes has for its future, in tokio 1.54 on a 64-bit machine.
    /// Tasks are allocated in steps of 128 bytes, so one more byte would cost 128.
    const TASK_FUTURE_BYTES: usize = 152;

    const fn future_bytes<S, F>(_: fn(S, bool) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_session_fits_into_a_task_of_256_bytes() {
        let bytes = future_bytes(run::<String, String, Arc<Quiet>>);
        assert!(bytes <= TASK_FUTURE_BYTES, "{bytes}");
    }

    #[test]
    fn a_resting_session_fits_into_a_hole_of_the_allocator() {
        assert!(fits_into_hole::<Bed<Session<String, String, Arc<Quiet>>>>());
    }
}
