//! The trait of the application's callbacks.

use std::future::{Future, ready};
use std::sync::Arc;

use super::{Conn, Reject, UpgradeRequest};
use crate::codec::DecodeError;
use crate::engine::{Close, DisconnectReason};

/// The callbacks of an application. Every method has a default: `on_upgrade` accepts the handshake,
/// and the others do nothing.
///
/// The calls for one connection come one after the other: `on_upgrade`, `on_connect`, one call for
/// each message, and `on_disconnect` at the end. The calls for different connections run in
/// parallel.
///
/// While a callback runs, the hub answers pings of the client until it has read the next message.
/// Then it stops reading from this client until the callback returns. So TCP slows down a client
/// that sends faster than it is served. The client is not closed for silence in that time.
///
/// A callback that panics closes its connection with 1011; all other connections go on. If
/// `on_upgrade` panics, the client gets 500 instead. If `on_disconnect` panics, the connection has
/// already ended. [`Stats::handler_panics`](crate::Stats::handler_panics) counts all these panics.
///
/// If the connection ends while a callback runs, the hub holds the socket until the callback
/// returns.
///
/// [`Handlers`](super::Handlers) makes a handler of closures.
///
/// # Errors of callbacks
/// A callback that returns an error closes its connection with that [`Close`]. Each error of this
/// crate converts into a `Close`, so `?` works on every call:
///
/// | error | code |
/// |---|---|
/// | a shard is overloaded, or the hub has reached its limit of rooms | 1013, come back later |
/// | a name is too long, or the connection is in too many rooms | 1008 |
/// | the message cannot be encoded | 1011, with the reason `internal error` |
/// | a message of the client cannot be decoded | 1007 |
/// | the hub is closed | 1001 |
/// | the connection has ended | no close: the connection stays as it is |
///
/// [`Stats::callback_errors`](crate::Stats::callback_errors) counts these errors, and each is
/// logged as an event of `tracing`. An error of a connection that is already closing is not
/// counted, except the error of `on_disconnect`. After the hub has closed, no error is counted.
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
    /// Accepts or refuses a request, before the handshake.
    ///
    /// It may pick a subprotocol, add headers to the response, attach data to the connection
    /// ([`UpgradeRequest::insert`]), and name the rooms in which the connection begins
    /// ([`UpgradeRequest::join`]). An error refuses the request with the status, headers and text
    /// of the [`Reject`].
    ///
    /// # Cancel safety
    /// The future is dropped when the client goes away, and after
    /// [`upgrade_timeout`](crate::Builder::upgrade_timeout), 10 s by default. An accepted request
    /// may still not become a connection. If a value must be released, attach it by `insert`: it is
    /// dropped with the request.
    fn on_upgrade(
        &self,
        request: &mut UpgradeRequest,
    ) -> impl Future<Output = Result<(), Reject>> + Send {
        let _ = request;
        ready(Ok(()))
    }

    /// Called when the connection is open: it can join rooms, send, and receive messages.
    ///
    /// An error closes the connection with that code. The connection then leaves the rooms that it
    /// has joined, and `on_disconnect` is called.
    ///
    /// If a connection is closed after its handshake was accepted, such as by
    /// [`Hub::close`](crate::Hub::close), `on_connect` is still called.
    fn on_connect(&self, conn: &Conn<Out, In>) -> impl Future<Output = Result<(), Close>> + Send {
        let _ = conn;
        ready(Ok(()))
    }

    /// Called for each message of the client. If the client has closed meanwhile, the messages that
    /// the handler sends to it still leave before the hub's close frame.
    ///
    /// The future is allocated for each message and freed when it returns: an idle connection holds
    /// no memory for it.
    fn on_message(
        &self,
        conn: &Conn<Out, In>,
        message: In,
    ) -> impl Future<Output = Result<(), Close>> + Send {
        let _ = (conn, message);
        ready(Ok(()))
    }

    /// Called for each message of the client that the codec cannot decode. The connection stays
    /// open unless this callback returns an error.
    ///
    /// [`Stats::decode_errors`](crate::Stats::decode_errors) counts the message. An event of
    /// `tracing` reports it with the reason, the size and the first 64 bytes, at level `warn` at
    /// most once a second. The client learns of the error only from this callback.
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

    /// Called once for each connection that was opened, after it has ended.
    ///
    /// The connection has left its rooms, and [`Hub::count`](crate::Hub::count) no longer counts
    /// it. [`Conn::rooms`] still returns the rooms of which it was a member. An error is counted,
    /// and has no other effect.
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
