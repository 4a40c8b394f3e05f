//! The handle of a connection: joining, sending, closing, and what the handshake brought.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use tokio::task::coop;

use super::conn_info::ConnInfo;
use super::conn_span::ConnSpan;
use super::{AsMessage, Encoded, Hub, SendError};
use crate::backplane::ConnId;
use crate::engine::{
    ClientInflater, Close, CloseCode, ConnKey, DisconnectReason, Link, Port, Stage,
};
use crate::net::WriteHalf;

/// The connection of one client.
///
/// `Conn` is a handle: clones are the same connection, and a handle may outlive the connection. Any
/// task may make any call. Only the `async` calls wait.
pub struct Conn<Out, In = Out> {
    inner: Arc<Inner<Out, In>>,
}

struct Inner<Out, In> {
    hub: Hub<Out, In>,
    link: Arc<Link>,
    info: ConnInfo,
    span: ConnSpan,
}

impl<Out: 'static, In: Send + 'static> Conn<Out, In> {
    /// Makes the connection of a client. `inflater` is that of the client, if messages may be
    /// compressed.
    pub(super) fn new(
        hub: Hub<Out, In>,
        key: ConnKey,
        info: ConnInfo,
        inflater: Option<ClientInflater>,
    ) -> Self {
        let span = ConnSpan::new(ConnId::new(hub.inner.node, key), info.remote_addr);
        let inner = Arc::new_cyclic(|inner: &Weak<Inner<Out, In>>| {
            let link = Link::with_user_data(key, inner.clone()).with_inflater(inflater);
            Inner { hub, link: Arc::new(link), info, span }
        });
        Self { inner }
    }

    /// The connection of a link, while at least one handle of the connection exists.
    pub(super) fn from_link(link: &Link) -> Option<Self> {
        let inner = link.user_data()?.downcast().ok()?;
        Some(Self { inner })
    }

    /// The id of the connection, unique among the hubs of all nodes.
    pub fn id(&self) -> ConnId {
        ConnId::new(self.inner.hub.inner.node, self.key())
    }

    /// The id within this hub.
    pub(super) fn key(&self) -> ConnKey {
        self.inner.link.id()
    }

    /// The hub of the connection.
    pub fn hub(&self) -> &Hub<Out, In> {
        &self.inner.hub
    }

    /// Queues a message for this client alone, waiting until there is space for the message.
    ///
    /// There is space if the message, together with the bytes that already wait for this client,
    /// does not exceed half of [`send_buffer_bytes`](crate::Builder::send_buffer_bytes). If nothing
    /// waits, a message of any size passes. So a handler can send a stream of any length to a
    /// client that reads it. The other half of the buffer stays free for messages to the client's
    /// rooms. With [`Overflow::KeepNewest`](crate::Overflow::KeepNewest), the call waits until
    /// nothing waits for the client.
    ///
    /// # Errors
    /// See [`SendError`], but never [`SendError::Overloaded`]. The message was not queued.
    /// [`SendError::SlowClient`]: the client was evicted while the call waited. This happens when
    /// the client takes no bytes for [`write_timeout`](crate::Builder::write_timeout). If
    /// [`overflow`](crate::Builder::overflow) is not `Evict`, the call may wait for as long as the
    /// client takes no bytes: use [`try_send`](Self::try_send).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was queued.
    pub async fn send<M: AsMessage<Out> + ?Sized>(&self, message: &M) -> Result<(), SendError> {
        let message = self.encode(message)?;
        self.send_encoded(&message).await
    }

    /// [`send`](Self::send) without waiting. The message may use the whole send buffer, also the
    /// half that `send` keeps free.
    ///
    /// # Errors
    /// As `send`, and [`SendError::Overloaded`]: the inbox of the shard is full.
    pub fn try_send<M: AsMessage<Out> + ?Sized>(&self, message: &M) -> Result<(), SendError> {
        self.try_send_encoded(&self.encode(message)?)
    }

    /// Queues an encoded message for this client alone, waiting as [`send`](Self::send) does.
    ///
    /// # Errors
    /// As `send`, except [`SendError::Encode`].
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was queued.
    pub async fn send_encoded(&self, message: &Encoded) -> Result<(), SendError> {
        // A task that sends without pause must not keep its worker thread from other tasks.
        coop::consume_budget().await;
        let (link, hub) = (&self.inner.link, &self.inner.hub.inner);
        let attempt = || self.send_within(message, Some(hub.send_wait_bytes_max));
        let attempt = || match attempt() {
            Err(SendError::Overloaded) => None,
            result => Some(result),
        };
        match attempt() {
            Some(result) => result,
            // Boxed because it is rare: its size would count in every future that may wait.
            None => Box::pin(hub.send_waiting(link, || message.0.len(), attempt)).await,
        }
    }

    /// [`send_encoded`](Self::send_encoded) without waiting.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send), except [`SendError::Encode`].
    pub fn try_send_encoded(&self, message: &Encoded) -> Result<(), SendError> {
        self.send_within(message, None)
    }

    /// The bytes that wait for this client in the hub, with frame headers.
    ///
    /// These are the direct sends on their way to the shard, and the client's whole send queue. The
    /// value is an upper bound: a buffer that is partly written counts as a whole. Messages to
    /// rooms that are still on their way to the shard do not count, nor do bytes that the kernel or
    /// TLS has taken.
    pub fn queued_bytes(&self) -> usize {
        self.inner.link.waiting()
    }

    /// Waits until [`queued_bytes`](Self::queued_bytes) is 0: all messages that were sent to this
    /// client alone have left the hub. The client may not have received them yet.
    ///
    /// # Errors
    /// [`SendError::Closed`] or [`SendError::SlowClient`]: the connection has ended first.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn flushed(&self) -> Result<(), SendError> {
        let link = &self.inner.link;
        self.wait_until(|| link.waiting() == 0).await;
        // The queue of a connection that has ended is empty, but its messages may be lost.
        match link.end().map(|end| &end.reason) {
            Some(DisconnectReason::SlowClient { cause, .. }) => Err(SendError::SlowClient(*cause)),
            Some(_) => Err(SendError::Closed),
            None => Ok(()),
        }
    }

    fn encode<M: AsMessage<Out> + ?Sized>(&self, message: &M) -> Result<Encoded, SendError> {
        self.check_open()?;
        Ok(self.inner.hub.inner.encode(message)?)
    }

    fn send_within(&self, message: &Encoded, bytes_max: Option<usize>) -> Result<(), SendError> {
        self.check_open()?;
        Ok(self.inner.hub.inner.shards.send(&self.inner.link, &message.0, bytes_max)?)
    }

    /// Calls `attempt` until it gives a result: now, and each time that a shard has made space.
    pub(super) async fn until<R>(&self, mut attempt: impl FnMut() -> Option<R>) -> R {
        match attempt() {
            Some(result) => result,
            None => Box::pin(self.inner.hub.inner.shards.until(attempt)).await,
        }
    }

    /// Waits until the condition holds, or the connection has ended.
    pub(super) async fn wait_until(&self, mut condition: impl FnMut() -> bool) {
        let link = &self.inner.link;
        super::session::wait_until(link, || link.stage() > Stage::Open || condition()).await;
    }

    /// Closes the connection with code 1000, after all messages that were sent to it before.
    pub fn close(&self) {
        self.close_with(CloseCode::NORMAL, "");
    }

    /// Closes the connection with a code and a reason, after all messages that were sent to it
    /// before. Only the first close has an effect.
    ///
    /// A reason is cut at 123 bytes. A code that must not be sent makes a close frame without code
    /// and reason.
    pub fn close_with(&self, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        if self.inner.link.start_closing() {
            let reason = DisconnectReason::ClosedByServer(Close::new(code, reason));
            self.port().close(self.key(), reason);
        }
    }

    /// Whether the connection is closed or closing.
    pub fn is_closed(&self) -> bool {
        self.inner.link.is_closing()
    }

    /// A parameter of the route, percent-decoded: `room` of `/ws/{room}`.
    ///
    /// # Panics
    /// If the route has no parameter of that name, which is a mistake in the program. The panic
    /// message names the parameters of the route. In a callback, the panic closes the connection
    /// with 1011. If only some routes of a handler have the parameter, use
    /// [`try_param`](Self::try_param).
    #[track_caller]
    pub fn param(&self, name: &str) -> &str {
        self.inner.info.param(name)
    }

    /// A parameter of the route, percent-decoded. `None` if the route has no parameter of that
    /// name.
    pub fn try_param(&self, name: &str) -> Option<&str> {
        self.inner.info.try_param(name)
    }

    /// The first value of a key in the query string, decoded. `None` if the query does not have the
    /// key.
    ///
    /// Each call decodes again: keep a value that you need often.
    pub fn query(&self, key: &str) -> Option<Cow<'_, str>> {
        self.query_all(key).next()
    }

    /// All values of a key in the query string, decoded, in the order of the query. Empty if the
    /// query does not have the key.
    ///
    /// Each iteration decodes again: keep values that you need often.
    ///
    /// # Examples
    /// ```
    /// use roomcast::{Close, Conn, Handler};
    ///
    /// struct Rooms;
    ///
    /// impl Handler<String> for Rooms {
    ///     async fn on_connect(&self, conn: &Conn<String>) -> Result<(), Close> {
    ///         // `/ws?room=lobby&room=hall`
    ///         for room in conn.query_all("room") {
    ///             conn.join(&room).await?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn query_all(&self, key: &str) -> impl Iterator<Item = Cow<'_, str>> {
        self.inner.info.query_values(key)
    }

    /// The address of the client, if the server has inserted a [`RemoteAddr`](crate::RemoteAddr)
    /// into the request.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.inner.info.remote_addr
    }

    /// The value of type `V` that is attached to the connection, such as the user who has logged
    /// in.
    ///
    /// `on_upgrade` attaches a value by [`insert`](crate::UpgradeRequest::insert), a layer of the
    /// server by [`ConnExtensions`](crate::ConnExtensions).
    ///
    /// # Panics
    /// If no value of this type is attached, which is a mistake in the program. The panic message
    /// names the type. In a callback, the panic closes the connection with 1011. For a value that
    /// only some connections have, use [`try_get`](Self::try_get).
    #[track_caller]
    pub fn get<V: Send + Sync + 'static>(&self) -> &V {
        self.try_get().unwrap_or_else(|| {
            let name = std::any::type_name::<V>();
            panic!(
                "no `{name}` is attached to this connection; `on_upgrade` attaches one by `insert`"
            )
        })
    }

    /// The value of type `V` that is attached to the connection, or `None`: see [`get`](Self::get).
    pub fn try_get<V: Send + Sync + 'static>(&self) -> Option<&V> {
        self.inner.info.extensions.get()
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.inner.link
    }

    pub(super) fn span(&self) -> &ConnSpan {
        &self.inner.span
    }

    pub(super) fn port(&self) -> &Arc<Port<WriteHalf>> {
        let port = self.inner.hub.inner.shards.port(self.key());
        port.expect("the id was made for a shard of this hub")
    }

    fn check_open(&self) -> Result<(), SendError> {
        match self.inner.link.end().map(|end| &end.reason) {
            Some(DisconnectReason::SlowClient { cause, .. }) => Err(SendError::SlowClient(*cause)),
            _ if self.is_closed() || self.hub().is_closed() => Err(SendError::Closed),
            _ => Ok(()),
        }
    }
}

impl<Out, In> Clone for Conn<Out, In> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

/// Two handles are equal if they belong to the same connection.
impl<Out, In> PartialEq for Conn<Out, In> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl<Out, In> Eq for Conn<Out, In> {}

impl<Out, In> Hash for Conn<Out, In> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.link.id().hash(state);
    }
}

impl<Out, In> fmt::Debug for Conn<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("id", &self.inner.link.id())
            .field("remote_addr", &self.inner.info.remote_addr)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Whether an `Arc` of this type fits into the hole that glibc's allocator leaves beside each
    /// `ScheduledIo` of tokio, on a 64-bit machine. Each socket has one: 256 bytes, aligned to 128.
    pub(in crate::hub) const fn fits_into_hole<T>() -> bool {
        const HOLE_BYTES: usize = 104;
        const COUNTS_BYTES: usize = 16;
        size_of::<T>() + COUNTS_BYTES <= HOLE_BYTES
    }

    #[test]
    fn parts_of_an_idle_connection_fit_into_holes_of_the_allocator() {
        assert!(fits_into_hole::<Inner<String, String>>());
        assert!(fits_into_hole::<Link>());
    }
}
