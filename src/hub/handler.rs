//! What an application does with its connections.

use std::future::{Future, ready};
use std::sync::Arc;

use super::{Conn, Reject, UpgradeRequest};
use crate::codec::DecodeError;
use crate::engine::{Close, DisconnectReason};

/// What an application does with its connections. All methods have a default: it accepts the handshake, and ignores
/// the rest.
///
/// The calls for one connection come one after the other: `on_upgrade`, `on_connect`, one call for each message, and
/// `on_disconnect` at the end. The calls for different connections run in parallel.
///
/// While a callback runs, the hub answers pings of its client until the next message arrives. It keeps this message,
/// and then reads nothing more from this client until the callback returns. So TCP slows down a client that sends
/// faster than it is served. The client is not closed for silence in that time.
///
/// A handler that panics closes its connection with 1011; the others live. In `on_upgrade` the
/// client gets 500 instead, and in `on_disconnect` there is nothing left to close; all are counted.
///
/// If the connection ends while a callback runs, its socket is held until the callback returns.
///
/// [`Handlers`](super::Handlers) makes a handler of closures.
///
/// # Errors of callbacks
/// A callback that returns an error closes its connection with that [`Close`]. Each error of this crate becomes a
/// close by itself, so `?` works on every call:
///
/// | error | code |
/// |---|---|
/// | a shard is overloaded, or the hub has no more rooms | 1013, come back later |
/// | a name is too long, or the connection is in too many rooms | 1008 |
/// | the message cannot be encoded | 1011, with the reason `internal error` |
/// | a message of the client cannot be decoded | 1007 |
/// | the hub is closed | 1001 |
/// | the connection has ended | none: it stays as it is |
///
/// [`Stats::callback_errors`](crate::Stats::callback_errors) counts these errors, and an event of `tracing` tells
/// each. Errors of connections that are already closing, and of closed hubs, are not counted.
///
/// # Examples
/// ```
/// use roomcast::{Close, Conn, Handler, Reject, StatusCode, UpgradeRequest};
///
/// struct Chat;
///
/// #[derive(Clone)]
/// struct User(String);
///
/// impl Handler<String> for Chat {
///     async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
///         let user = request.header("x-user").ok_or(StatusCode::UNAUTHORIZED)?.to_owned();
///         request.insert(User(user));
///         Ok(())
///     }
///
///     async fn on_connect(&self, conn: &Conn<String>) -> Result<(), Close> {
///         conn.join("lobby").await?;
///         Ok(())
///     }
///
///     async fn on_message(&self, conn: &Conn<String>, text: String) -> Result<(), Close> {
///         let User(user) = conn.get();
///         conn.hub().to_room("lobby", &format!("{user}: {text}")).await?;
///         Ok(())
///     }
/// }
/// ```
pub trait Handler<Out: 'static, In: Send + 'static = Out>: Send + Sync + 'static {
    /// Sees the request before the handshake: accepts it, picks a subprotocol, adds headers to the
    /// response, attaches data to the connection, names the rooms that it begins in
    /// ([`UpgradeRequest::join`]), or refuses with a status of choice.
    ///
    /// # Cancel safety
    /// Dropped with the request when the client leaves. An accepted request may still not become a
    /// connection: attach what must be released by `insert`, and it is dropped with the request.
    fn on_upgrade(
        &self,
        request: &mut UpgradeRequest,
    ) -> impl Future<Output = Result<(), Reject>> + Send {
        let _ = request;
        ready(Ok(()))
    }

    /// The connection is open: it can join, send and be sent to. An error closes it with that code;
    /// it leaves the rooms that it has joined, and `on_disconnect` is called.
    ///
    /// This is also called for a connection that was closed after its handshake was accepted, such as by
    /// [`Hub::close`](crate::Hub::close).
    fn on_connect(&self, conn: &Conn<Out, In>) -> impl Future<Output = Result<(), Close>> + Send {
        let _ = conn;
        ready(Ok(()))
    }

    /// The client has sent a message. If the client has closed since, what the handler sends to it still
    /// leaves before the hub's close frame.
    ///
    /// The future is allocated for each message, and goes with it: an idle connection does not pay for
    /// its size.
    fn on_message(
        &self,
        conn: &Conn<Out, In>,
        message: In,
    ) -> impl Future<Output = Result<(), Close>> + Send {
        let _ = (conn, message);
        ready(Ok(()))
    }

    /// The client has sent a message that the codec cannot decode. The connection lives on unless this closes it.
    ///
    /// The hub has counted the message ([`Stats::decode_errors`](crate::Stats::decode_errors)), and told of it by an
    /// event of `tracing`: at `warn` once a second at most, with the reason, the size and the first 64 bytes. The
    /// client is told nothing unless this callback tells it.
    ///
    /// # Examples
    /// Close with 1007, or answer and go on:
    /// ```
    /// use roomcast::{Close, Conn, DecodeError, Handler};
    ///
    /// struct Strict;
    ///
    /// impl Handler<String> for Strict {
    ///     async fn on_decode_error(&self, _: &Conn<String>, error: DecodeError) -> Result<(), Close> {
    ///         Err(error.into())
    ///     }
    /// }
    ///
    /// struct Kind;
    ///
    /// impl Handler<String> for Kind {
    ///     async fn on_decode_error(&self, conn: &Conn<String>, _: DecodeError) -> Result<(), Close> {
    ///         conn.send("that was no message").await?;
    ///         Ok(())
    ///     }
    /// }
    /// ```
    fn on_decode_error(
        &self,
        conn: &Conn<Out, In>,
        error: DecodeError,
    ) -> impl Future<Output = Result<(), Close>> + Send {
        let _ = (conn, error);
        ready(Ok(()))
    }

    /// The connection has ended. It is in no room any more, and no longer counts;
    /// [`Conn::rooms`] still tells where it was. Called once for each connection that was opened. An error
    /// is counted, and closes nothing.
    fn on_disconnect(
        &self,
        conn: &Conn<Out, In>,
        reason: &DisconnectReason,
    ) -> impl Future<Output = Result<(), Close>> + Send {
        let _ = (conn, reason);
        ready(Ok(()))
    }
}

impl<Out: 'static, In: Send + 'static, H: Handler<Out, In>> Handler<Out, In> for Arc<H> {
    fn on_upgrade(
        &self,
        request: &mut UpgradeRequest,
    ) -> impl Future<Output = Result<(), Reject>> + Send {
        (**self).on_upgrade(request)
    }

    fn on_connect(&self, conn: &Conn<Out, In>) -> impl Future<Output = Result<(), Close>> + Send {
        (**self).on_connect(conn)
    }

    fn on_message(
        &self,
        conn: &Conn<Out, In>,
        message: In,
    ) -> impl Future<Output = Result<(), Close>> + Send {
        (**self).on_message(conn, message)
    }

    fn on_decode_error(
        &self,
        conn: &Conn<Out, In>,
        error: DecodeError,
    ) -> impl Future<Output = Result<(), Close>> + Send {
        (**self).on_decode_error(conn, error)
    }

    fn on_disconnect(
        &self,
        conn: &Conn<Out, In>,
        reason: &DisconnectReason,
    ) -> impl Future<Output = Result<(), Close>> + Send {
        (**self).on_disconnect(conn, reason)
    }
}
