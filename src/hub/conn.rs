//! A connection, as the application sees it.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use tokio::sync::oneshot;
use tokio::task::coop;

use super::conn_info::ConnInfo;
use super::conn_span::ConnSpan;
use super::{AsMessage, Encoded, Hub, SendError};
use crate::backplane::ConnId;
use crate::engine::{
    Close, CloseCode, ConnKey, DisconnectReason, JoinError, LeaveError, Link, Port, Stage,
};
use crate::net::WriteHalf;
use crate::runtime::shield::shielded;

/// A connection. A handle: clones are the same connection, and may outlive it.
///
/// All calls may be made from any task, and none but the `async` ones waits.
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
    pub(super) fn new(hub: Hub<Out, In>, key: ConnKey, info: ConnInfo) -> Self {
        let span = ConnSpan::new(ConnId::new(hub.inner.node, key), info.remote_addr);
        let inner = Arc::new_cyclic(|inner: &Weak<Inner<Out, In>>| {
            let link = Arc::new(Link::with_user_data(key, inner.clone()));
            Inner { hub, link, info, span }
        });
        Self { inner }
    }

    /// The connection of a link, as long as anybody has it.
    pub(super) fn from_link(link: &Link) -> Option<Self> {
        let inner = link.user_data()?.downcast().ok()?;
        Some(Self { inner })
    }

    /// The identity, unique among the hubs of all nodes.
    pub fn id(&self) -> ConnId {
        ConnId::new(self.inner.hub.inner.node, self.key())
    }

    /// The identity in this hub.
    pub(super) fn key(&self) -> ConnKey {
        self.inner.link.id()
    }

    /// The hub.
    pub fn hub(&self) -> &Hub<Out, In> {
        &self.inner.hub
    }

    /// Enters a room, making it if need be, waiting while the shard is overloaded. Joining twice is joining once, but
    /// takes a place until the shard has seen it: a connection that is in as many rooms as it may be is refused,
    /// even for a room that it is in.
    ///
    /// A publish to the room that follows, by this task or by one that was told, reaches the connection. On other
    /// nodes this holds after [`join_subscribed`](Self::join_subscribed).
    ///
    /// # Errors
    /// See [`JoinError`], but never [`JoinError::Overloaded`]; the connection's other rooms are as before.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, the connection has not joined.
    pub async fn join(&self, room: &str) -> Result<(), JoinError> {
        let attempt = || match self.try_join(room) {
            Err(JoinError::Overloaded) => None,
            result => Some(result),
        };
        self.until(attempt).await
    }

    /// [`join`](Self::join) without waiting.
    ///
    /// # Errors
    /// As `join`, and [`JoinError::Overloaded`]: the inbox of the shard is full.
    pub fn try_join(&self, room: &str) -> Result<(), JoinError> {
        self.inner.hub.inner.shards.join(&self.inner.link, room)
    }

    /// Leaves a room, waiting while the shard is overloaded. It is no error not to be in it.
    ///
    /// A publish to the room that follows, by this task or by one that was told, does not reach the
    /// connection.
    ///
    /// # Errors
    /// None today: the shard takes the leave at some time.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, the connection is still a member.
    pub async fn leave(&self, room: &str) -> Result<(), LeaveError> {
        let attempt = || match self.try_leave(room) {
            Err(LeaveError::Overloaded) => None,
            result => Some(result),
        };
        self.until(attempt).await
    }

    /// [`leave`](Self::leave) without waiting.
    ///
    /// # Errors
    /// [`LeaveError::Overloaded`]: still a member.
    pub fn try_leave(&self, room: &str) -> Result<(), LeaveError> {
        self.port().leave(&self.inner.link, room)
    }

    /// The names of the rooms that it is in, in no order; after its end, of those that it was in.
    /// Asks the shard, so it sees what this task did before.
    ///
    /// # Cancel safety
    /// Nothing happens when the future is dropped.
    pub async fn rooms(&self) -> Vec<String> {
        let (sender, answer) = oneshot::channel();
        self.port().ask_rooms(self.key(), Box::new(move |rooms| drop(sender.send(rooms))));
        let rooms = shielded(answer).await.unwrap_or_default();
        let rooms = self.inner.link.end().map_or(&rooms, |end| &end.rooms);
        rooms.iter().map(|room| room.name().to_owned()).collect()
    }

    /// Queues a message for this client alone, waiting until there is space for the message.
    ///
    /// There is space if the message, and what waits for this client already, do not exceed half of
    /// [`send_buffer_bytes`](crate::Builder::send_buffer_bytes). If nothing waits, a message of any size
    /// passes. So a stream of any length reaches a client that reads it, and what
    /// others send to the client's rooms meanwhile still finds its place.
    ///
    /// # Errors
    /// See [`SendError`], but never [`SendError::Overloaded`]; the message was not queued.
    /// [`SendError::SlowClient`] where the client is evicted while the call waits, as it is when it takes nothing
    /// for [`write_timeout`](crate::Builder::write_timeout). Where [`overflow`](crate::Builder::overflow) is not
    /// `Evict`, the call may wait for as long as the client takes nothing: use [`try_send`](Self::try_send).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was queued.
    pub async fn send<M: AsMessage<Out> + ?Sized>(&self, message: &M) -> Result<(), SendError> {
        let message = self.encode(message)?;
        self.send_encoded(&message).await
    }

    /// [`send`](Self::send) without waiting. The message may also take the space that `send` leaves to others.
    ///
    /// # Errors
    /// As `send`, and [`SendError::Overloaded`]: the inbox of the shard is full.
    pub fn try_send<M: AsMessage<Out> + ?Sized>(&self, message: &M) -> Result<(), SendError> {
        self.try_send_encoded(&self.encode(message)?)
    }

    /// Queues an encoded message for this client alone, waiting as [`send`](Self::send) does.
    ///
    /// # Errors
    /// As `send`, but for the encoding.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was queued.
    pub async fn send_encoded(&self, message: &Encoded) -> Result<(), SendError> {
        // A task that sends all the time must not hold its thread.
        coop::consume_budget().await;
        let (link, hub) = (&self.inner.link, &self.inner.hub.inner);
        let attempt = || self.send_within(message, Some(hub.send_wait_bytes_max));
        let attempt = || match attempt() {
            Err(SendError::Overloaded) => None,
            result => Some(result),
        };
        match attempt() {
            Some(result) => result,
            // Boxed, for it is rare, and its size would count in every future that may wait.
            None => Box::pin(hub.send_waiting(link, || message.0.len(), attempt)).await,
        }
    }

    /// [`send_encoded`](Self::send_encoded) without waiting.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send), but for the encoding.
    pub fn try_send_encoded(&self, message: &Encoded) -> Result<(), SendError> {
        self.send_within(message, None)
    }

    /// Bytes that wait for this client in the hub, with frame headers: direct sends on their way to its
    /// shard, and all that is in its send queue. An upper bound: a buffer of which a part has left counts
    /// as a whole. Messages to rooms that are on their way to the shard, and what the kernel or TLS has
    /// taken, do not count.
    pub fn queued_bytes(&self) -> usize {
        self.inner.link.waiting()
    }

    /// Waits until [`queued_bytes`](Self::queued_bytes) is 0: all that was sent to this client alone has
    /// left the hub. That does not say that the client has it.
    ///
    /// # Errors
    /// [`SendError::Closed`] or [`SendError::SlowClient`] where the connection ends first.
    ///
    /// # Cancel safety
    /// Nothing happens when the future is dropped.
    pub async fn flushed(&self) -> Result<(), SendError> {
        let link = &self.inner.link;
        self.wait_until(|| link.waiting() == 0).await;
        // What waited for a connection that has ended may be lost.
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

    /// Tries until there is a result, each time that a shard has made space.
    async fn until<R>(&self, mut attempt: impl FnMut() -> Option<R>) -> R {
        match attempt() {
            Some(result) => result,
            None => Box::pin(self.inner.hub.inner.shards.until(attempt)).await,
        }
    }

    /// Waits until the link is as asked, or the connection has ended.
    pub(super) async fn wait_until(&self, mut condition: impl FnMut() -> bool) {
        let link = &self.inner.link;
        super::session::wait_until(link, || link.stage() > Stage::Open || condition()).await;
    }

    /// Closes the connection with 1000, after what was sent to it before.
    pub fn close(&self) {
        self.close_with(CloseCode::NORMAL, "");
    }

    /// Closes the connection, after what was sent to it before. The first close counts.
    ///
    /// A reason is cut at 123 bytes. A code that may not be sent makes a close frame without one.
    pub fn close_with(&self, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        if self.inner.link.start_closing() {
            let reason = DisconnectReason::ClosedByServer(Close::new(code, reason));
            self.port().close(self.key(), reason);
        }
    }

    /// Whether it is closed, or closing.
    pub fn is_closed(&self) -> bool {
        self.inner.link.is_closing()
    }

    /// A parameter of the route, percent-decoded: `room` of `/ws/{room}`.
    ///
    /// # Panics
    /// If the route has no parameter of that name, which is a mistake in the program: the panic names those that it
    /// has, and closes the connection with 1011. For a handler that is behind routes with and without it there is
    /// [`try_param`](Self::try_param).
    #[track_caller]
    pub fn param(&self, name: &str) -> &str {
        self.inner.info.param(name)
    }

    /// A parameter of the route, percent-decoded, if the route has one of that name.
    pub fn try_param(&self, name: &str) -> Option<&str> {
        self.inner.info.params.get(name)
    }

    /// The first value of a key in the query string, decoded.
    ///
    /// Decodes at each call: keep what is asked for often.
    pub fn query(&self, key: &str) -> Option<Cow<'_, str>> {
        self.query_all(key).next()
    }

    /// All values of a key in the query string, decoded, in the order of the query. Empty if the key is
    /// not there.
    ///
    /// Decodes at each call, while it is iterated: keep what is asked for often.
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

    /// The address of the client, where the server told it.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.inner.info.remote_addr
    }

    /// The value of this type that `on_upgrade` attached ([`insert`](crate::UpgradeRequest::insert)), or a layer of
    /// the server before it ([`ConnExtensions`](crate::ConnExtensions)): the user who has logged in, say.
    ///
    /// # Panics
    /// If none was attached, which is a mistake in the program: the panic names the type, and closes the connection
    /// with 1011. For what is attached to some connections only there is [`try_get`](Self::try_get).
    #[track_caller]
    pub fn get<V: Send + Sync + 'static>(&self) -> &V {
        self.try_get().unwrap_or_else(|| {
            let name = std::any::type_name::<V>();
            panic!(
                "no `{name}` is attached to this connection; `on_upgrade` attaches one by `insert`"
            )
        })
    }

    /// The value of this type that `on_upgrade` attached, or a layer before it, if one did.
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

/// Whether both are the same connection.
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
