//! The life of one connection: from the handshake to the last call of its handler.

use std::future::poll_fn;
use std::mem;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use tokio::task::coop;

use super::about::About;
use super::{Conn, Handler, Hub, UpgradeRequest};
use crate::codec::DecodeError;
use crate::engine::{Close, CloseCode, ConnKey, DisconnectReason, Link, Stage};
use crate::transport::{self, Event, FrameReader, ReadError};

impl<T: Send + 'static> Hub<T> {
    /// Answers a request for a WebSocket, and runs the connection in a task of its own once the
    /// response has left. For use in any hyper service whose connections allow upgrades
    /// (`with_upgrades`); [`handle`](Self::handle) makes such a service.
    ///
    /// A request that is no proper handshake gets 426 or 400, one that the handler refuses what it
    /// says, and one to a closed hub 503.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use roomcast::{Handler, Hub, Request, Response};
    ///
    /// async fn serve<H: Handler<String>>(
    ///     hub: Hub<String>,
    ///     handler: Arc<H>,
    ///     request: Request<hyper::body::Incoming>,
    /// ) -> Response<http_body_util::Full<bytes::Bytes>> {
    ///     hub.upgrade(request, handler).await
    /// }
    /// ```
    pub async fn upgrade<B, H>(&self, request: Request<B>, handler: H) -> Response<Full<Bytes>>
    where
        H: Handler<T>,
    {
        let (parts, _) = request.into_parts();
        if let Some(response) = transport::objection(&parts) {
            return response;
        }
        let hub_closed = || transport::refusal(StatusCode::SERVICE_UNAVAILABLE, "hub closed");
        let session = Session::begin(self);
        if self.is_closed() {
            return hub_closed();
        }
        let mut request = UpgradeRequest::new(parts);
        // In a block of its own, so that a panic before the first await is caught, too.
        let accepted = async { handler.on_upgrade(&mut request).await };
        match AssertUnwindSafe(accepted).catch_unwind().await {
            Ok(Ok(())) if self.is_closed() => return hub_closed(),
            Ok(Ok(())) => {}
            Ok(Err(reject)) => return reject.into_response(),
            Err(_) => {
                self.inner.shards.ports()[0].counters().handler_panics.add(1);
                return transport::refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal error");
            }
        }
        let (parts, about, protocol) = request.into_parts();
        let Some((response, on_upgrade)) = transport::accept(parts, protocol) else {
            return transport::refusal(StatusCode::BAD_REQUEST, "handshake not understood");
        };
        tokio::spawn(open(session, handler, on_upgrade, about));
        response
    }
}

/// Waits for the stream and starts the connection in a task of its own: what this one needs for the
/// upgrade is not kept for its life.
async fn open<T, H>(session: Session<T>, handler: H, on_upgrade: OnUpgrade, about: About)
where
    T: Send + 'static,
    H: Handler<T>,
{
    let Some(hub) = session.0.clone() else { return };
    let Some(streams) = transport::take_over(on_upgrade).await else {
        hub.inner.shards.ports()[0].counters().upgrades_failed.add(1);
        return;
    };
    let serial = hub.inner.serial.fetch_add(1, Ordering::Relaxed);
    let shards = hub.inner.shards.ports().len() as u64;
    let link = Arc::new(Link::new(ConnKey::new(serial, (serial % shards) as usize)));
    let reader = FrameReader::new(streams.read, &streams.early, &hub.inner.read_limits);
    let conn = Conn::new(hub, link.clone(), about);
    conn.port().attach(link, streams.write);
    tokio::spawn(run(Attached::new(conn, session), handler, reader));
}

/// The task of a connection. Its size counts in every idle one, so what only a busy one needs is
/// boxed: also the future of a message, at about 15 of the 400 ns that a message of a burst takes.
#[expect(clippy::manual_async_fn, reason = "an async fn would hold its arguments twice")]
fn run<T, H>(
    attached: Attached<T>,
    handler: H,
    mut reader: FrameReader,
) -> impl Future<Output = ()> + Send
where
    T: Send + 'static,
    H: Handler<T>,
{
    async move {
        let conn = &attached.0;
        // One net for all that is the application's: the callbacks and the codec.
        let served = AssertUnwindSafe(serve(conn, &handler, &mut reader)).catch_unwind().await;
        let reason = served.unwrap_or_else(|_| {
            conn.port().counters().handler_panics.add(1);
            Some(DisconnectReason::HandlerPanicked)
        });
        if let Some(reason) = reason {
            conn.port().close(conn.key(), reason);
        }
        Box::pin(finish(conn, &handler, reader)).await;
    }
}

/// Serves the client until there is a reason to end, or the shard has one (`None`).
#[expect(clippy::manual_async_fn, reason = "an async fn would hold its arguments twice")]
fn serve<'a, T: Send + 'static, H: Handler<T>>(
    conn: &'a Conn<T>,
    handler: &'a H,
    reader: &'a mut FrameReader,
) -> impl Future<Output = Option<DisconnectReason>> + Send + 'a {
    async move {
        conn.link().pause_listening();
        if let Err(close) = Box::pin(handler.on_connect(conn)).await {
            return Some(DisconnectReason::ClosedByServer(close));
        }
        loop {
            // Back-pressure: what this client sends next would only add to the queue.
            if conn.hub().inner.shards.is_congested() {
                Box::pin(relieved_or_ended(conn)).await;
                reader.forgive();
            }
            // A client that has sent much at once must not hold the worker thread.
            coop::consume_budget().await;
            conn.port().hear(conn.link());
            let answer: BoxFuture<'_, ()> = match poll_fn(|cx| poll_step(conn, reader, cx)).await {
                Step::Message(message) => Box::pin(handler.on_message(conn, message)),
                Step::Undecodable(error) => Box::pin(handler.on_decode_error(conn, error)),
                Step::Handled => continue,
                Step::End(reason) => return reason,
            };
            answer.await;
        }
    }
}

/// Ready when there is something to do; from then on nobody listens.
fn poll_step<T: Send + 'static>(
    conn: &Conn<T>,
    reader: &mut FrameReader,
    cx: &mut Context<'_>,
) -> Poll<Step<T>> {
    let heard = || conn.port().hear(conn.link());
    let read = reader.poll_next(cx, conn.link(), &conn.hub().inner.read_limits, heard, |event| {
        interpret(conn, event)
    });
    read.map(|step| {
        conn.link().pause_listening();
        step.unwrap_or_else(|error| {
            Step::End(match error {
                ReadError::Ended => None,
                ReadError::Protocol(error) => Some(error.into()),
                ReadError::Io(kind) => Some(DisconnectReason::Io(kind)),
            })
        })
    })
}

async fn relieved_or_ended<T: Send + 'static>(conn: &Conn<T>) {
    tokio::select! {
        () = conn.hub().inner.shards.relieved() => {}
        () = ended(conn.link()) => {}
    }
}

/// What is to be done about an event.
enum Step<T> {
    Message(T),
    Undecodable(DecodeError),
    Handled,
    /// With the reason, unless the shard has had one first.
    End(Option<DisconnectReason>),
}

fn interpret<T: Send + 'static>(conn: &Conn<T>, event: Event<'_>) -> Step<T> {
    let codec = &conn.hub().inner.codec;
    let counters = conn.port().counters();
    match event {
        Event::Message { kind, .. } if !codec.accepts(kind) => {
            let close = Close::new(CloseCode::UNSUPPORTED, "kind of message not accepted here");
            Step::End(Some(DisconnectReason::Protocol(close)))
        }
        Event::Message { kind, payload } => {
            counters.messages_in.add(1);
            counters.bytes_in.add(payload.len() as u64);
            match codec.decode(kind, payload) {
                Ok(message) => Step::Message(message),
                Err(error) => {
                    counters.decode_errors.add(1);
                    Step::Undecodable(error)
                }
            }
        }
        Event::Ping(payload) => {
            conn.port().pong(conn.key(), payload);
            Step::Handled
        }
        Event::Pong(_) => Step::Handled,
        Event::Close(close) => Step::End(Some(DisconnectReason::ClosedByClient(close))),
    }
}

/// Waits until the shard has ended the connection, tells the handler, and lets the close frame
/// arrive meanwhile.
async fn finish<T: Send + 'static, H: Handler<T>>(
    conn: &Conn<T>,
    handler: &H,
    reader: FrameReader,
) {
    let link = conn.link();
    ended(link).await;
    let disconnect = async {
        let Some(end) = link.end() else { return };
        let told = async { handler.on_disconnect(conn, &end.reason).await };
        let told = AssertUnwindSafe(told).catch_unwind().await;
        conn.port().counters().handler_panics.add(u64::from(told.is_err()));
    };
    tokio::join!(disconnect, async {
        reader.drain(link).await;
        conn.port().detach(conn.key());
    });
}

/// For the session alone.
async fn ended(link: &Link) {
    poll_fn(|cx| {
        link.watch_stage(cx.waker());
        match link.stage() {
            Stage::Open => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
}

/// Waits for the end of a connection, in any task.
pub(super) async fn ended_for_others(link: &Link) {
    /// Gives the place of a waker back, also where the waiting is over before the connection.
    struct Place<'a>(&'a Link, Option<usize>);

    impl Drop for Place<'_> {
        fn drop(&mut self) {
            self.1.take().into_iter().for_each(|place| self.0.stop_watching(place));
        }
    }

    let mut place = Place(link, None);
    poll_fn(|cx| {
        drop(mem::replace(&mut place, Place(link, None)));
        place.1 = Some(link.watch_stage_too(cx.waker()));
        match link.stage() {
            Stage::Open => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
}

/// Counts in its hub, from the request to the end of the connection.
struct Session<T: Send + 'static>(Option<Hub<T>>);

impl<T: Send + 'static> Session<T> {
    /// Whoever begins one looks afterwards whether the hub is closed, and `closed` looks for
    /// sessions after that has been set. Both are `SeqCst`: one of the two sees the other.
    fn begin(hub: &Hub<T>) -> Self {
        hub.inner.sessions.fetch_add(1, Ordering::SeqCst);
        Self(Some(hub.clone()))
    }
}

impl<T: Send + 'static> Drop for Session<T> {
    fn drop(&mut self) {
        self.0.iter().for_each(Hub::end_session);
    }
}

/// A connection that the shard knows, and the session that it has become. However its task ends,
/// the shard gets the socket back.
struct Attached<T: Send + 'static>(Conn<T>);

impl<T: Send + 'static> Attached<T> {
    fn new(conn: Conn<T>, mut session: Session<T>) -> Self {
        session.0 = None;
        Self(conn)
    }
}

impl<T: Send + 'static> Drop for Attached<T> {
    fn drop(&mut self) {
        self.0.port().detach(self.0.key());
        self.0.hub().end_session();
    }
}

impl<T: Send + 'static> Hub<T> {
    fn end_session(&self) {
        if self.inner.sessions.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.inner.all_ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Quiet;

    impl Handler<String> for Quiet {}

    /// What a task of 256 bytes, in tokio 1.54 on a 64-bit machine, leaves to its future. Tasks are
    /// allocated in steps of 128 bytes, so the next byte would cost as many.
    const TASK_FUTURE_BYTES: usize = 152;

    const fn future_bytes<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_session_fits_into_a_task_of_256_bytes() {
        let bytes = future_bytes(run::<String, Arc<Quiet>>);
        assert!(bytes <= TASK_FUTURE_BYTES, "{bytes}");
    }
}
