//! Actions on the connections of a target: close them, and move them into and out of rooms.

use super::Hub;
use super::publishing::Dispatch;
use crate::backplane::{Bridge, ConnId, Outgoing, Target};
use crate::engine::{Action, ActionError, Address, Close, ConnKey, Pace};
use crate::shards::Shards;

/// # Acting on connections
/// These calls act on the connections of a [`Target`] on this node and, with a backplane, on the
/// other nodes. Use them to remove a user, to log a user out everywhere, or to move a group into a
/// room. Each call waits while there is no space; its `try_` form fails at once with
/// [`ActionError::Overloaded`].
impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// Closes the connections of a target, on this node at once and, with a backplane, on the other
    /// nodes.
    ///
    /// Each connection gets the messages that were sent to it before this call, and then a close
    /// frame. Its `on_disconnect` gets
    /// [`DisconnectReason::ClosedByServer`](crate::DisconnectReason::ClosedByServer) with this
    /// close, as after [`Conn::close_with`](crate::Conn::close_with). Messages that are published
    /// after this call do not reach it. A reason is cut at 123 bytes. A code that must not be sent
    /// makes a close frame without code and reason, and `on_disconnect` gets code 1005. A target
    /// without connections is not an error. Connections that are opened after the call stay open.
    ///
    /// To end the whole hub, see [`shutdown`](Self::shutdown).
    ///
    /// Cost: one push per shard with connections of the target, and one encoded message for the
    /// other nodes. A shard then takes the connections out of their rooms. This takes 0.3 µs for
    /// each connection, and the rest of the inbox waits. Each close frame is one write; the shard
    /// spreads the writes over slices, and handles messages of other connections in between.
    ///
    /// # Delivery
    /// At most once, in the order of the messages of the same publisher; on other nodes within one
    /// channel (see [`join`](Self::join)). [`BackplaneHealth`](crate::BackplaneHealth) counts an
    /// action as a message: `published`, `received`, `lost`, `dropped`, `unreached`, `duplicates`.
    /// `Ok` means that the action is queued on this node and for the other nodes. A node that the
    /// action does not reach closes nothing.
    ///
    /// # Errors
    /// [`ActionError::Closed`]: the hub is closed. Never [`ActionError::Overloaded`].
    ///
    /// # Cancel safety
    /// As [`to_room`](Self::to_room).
    ///
    /// # Examples
    /// ```
    /// use roomcast::{ActionError, Close, CloseCode, Hub, Target};
    ///
    /// // In `on_connect`, each connection has joined the room of its user, such as `user:7`.
    /// async fn log_out_everywhere(hub: &Hub<String>, user: u64) -> Result<(), ActionError> {
    ///     let close = Close::new(CloseCode::from(4_001), "logged out");
    ///     hub.close(&Target::room(format!("user:{user}")), close).await
    /// }
    /// ```
    pub async fn close(
        &self,
        target: &Target<'_>,
        close: impl Into<Close> + Send,
    ) -> Result<(), ActionError> {
        let close = close.into();
        self.act_wait(target, closing(&close)).await
    }

    /// [`close`](Self::close) without waiting.
    ///
    /// # Errors
    /// As `close`, and [`ActionError::Overloaded`]: the inbox of a shard is full, and no connection
    /// is closed.
    pub fn try_close(
        &self,
        target: &Target<'_>,
        close: impl Into<Close>,
    ) -> Result<(), ActionError> {
        let close = close.into();
        self.act(target, closing(&close))
    }

    /// Makes the connections of a target join a room, on this node at once and, with a backplane,
    /// on the other nodes. Each node with connections of the target creates the room if it does not
    /// exist.
    ///
    /// A later publish to the room, by this task or by a task that knows of the call, reaches the
    /// connections of this node. A message that was published earlier does not. Members of the room
    /// stay members. [`member_count`](Self::member_count) counts a join when the shard has handled
    /// it.
    ///
    /// A connection that has reached [`max_rooms_per_conn`](crate::Builder::max_rooms_per_conn)
    /// does not join, and its node counts it in
    /// [`Stats::join_refusals`](crate::Stats::join_refusals). Another node may have other limits.
    /// If the name is too long there, or that node has reached its limit of rooms, no connection
    /// joins there, and that node counts this in
    /// [`Stats::room_refusals`](crate::Stats::room_refusals).
    ///
    /// Cost: one push per shard with connections, and one encoded message for the other nodes. A
    /// shard then needs 0.1 to 0.2 µs per connection, and the rest of its inbox waits meanwhile.
    ///
    /// # Delivery
    /// As [`close`](Self::close). On other nodes the order holds within one channel of the
    /// backplane. With one channel (the default), a later message to the room reaches all
    /// connections that have joined. With several ([`channels`](crate::Builder::channels)), the
    /// action goes by the channel of its target, and a message to the room by the channel of the
    /// room. If the message reaches another node before the action, the new members miss the
    /// message. If the message is published before that node has subscribed for the new members,
    /// they miss it too.
    ///
    /// # Errors
    /// [`ActionError::NameTooLong`], [`ActionError::NoMoreRooms`]: no connection joins, on this
    /// node or on another. If the target is a connection of another node, this node does not check
    /// the limits. [`ActionError::Closed`]: the hub is closed.
    ///
    /// # Cancel safety
    /// As [`to_room`](Self::to_room).
    ///
    /// # Examples
    /// ```
    /// use roomcast::{ActionError, ConnId, Hub, Target};
    ///
    /// // All members of the party join the match, except the spectators.
    /// async fn begin(hub: &Hub<String>, spectators: Vec<ConnId>) -> Result<(), ActionError> {
    ///     hub.join(&Target::room("party:7").except_all(spectators), "match:1").await
    /// }
    /// ```
    pub async fn join(&self, target: &Target<'_>, room: &str) -> Result<(), ActionError> {
        self.act_wait(target, Action::Join(room)).await
    }

    /// [`join`](Self::join) without waiting.
    ///
    /// # Errors
    /// As `join`, and [`ActionError::Overloaded`]: the inbox of a shard is full, and no connection
    /// joins.
    pub fn try_join(&self, target: &Target<'_>, room: &str) -> Result<(), ActionError> {
        self.act(target, Action::Join(room))
    }

    /// Makes the connections of a target leave a room, on this node at once and, with a backplane,
    /// on the other nodes. A connection that is no member of the room is not an error.
    ///
    /// A later publish to the room, by this task or by a task that knows of this call, does not
    /// reach the connections of this node. On other nodes this holds within one channel: see
    /// [`join`](Self::join). An earlier message still reaches them.
    /// [`member_count`](Self::member_count) and
    /// [`max_rooms_per_conn`](crate::Builder::max_rooms_per_conn) count a leave when the shard has
    /// handled it.
    ///
    /// Cost: as [`join`](Self::join).
    ///
    /// # Delivery
    /// As [`close`](Self::close).
    ///
    /// # Errors
    /// [`ActionError::Closed`]: the hub is closed. Never [`ActionError::Overloaded`].
    ///
    /// # Cancel safety
    /// As [`to_room`](Self::to_room).
    ///
    /// # Examples
    /// ```
    /// use roomcast::{ActionError, ConnId, Hub, Target};
    ///
    /// async fn mute(hub: &Hub<String>, id: ConnId) -> Result<(), ActionError> {
    ///     hub.leave(&Target::conn(id), "lobby").await
    /// }
    /// ```
    pub async fn leave(&self, target: &Target<'_>, room: &str) -> Result<(), ActionError> {
        self.act_wait(target, Action::Leave(room)).await
    }

    /// [`leave`](Self::leave) without waiting.
    ///
    /// # Errors
    /// As `leave`, and [`ActionError::Overloaded`]: the inbox of a shard is full, and no connection
    /// leaves.
    pub fn try_leave(&self, target: &Target<'_>, room: &str) -> Result<(), ActionError> {
        self.act(target, Action::Leave(room))
    }

    async fn act_wait(&self, target: &Target<'_>, action: Action<'_>) -> Result<(), ActionError> {
        self.publish_waiting(target.address(), target.excepted(), &action).await
    }

    fn act(&self, target: &Target<'_>, action: Action<'_>) -> Result<(), ActionError> {
        self.publish_now(target.address(), target.excepted(), &action)
    }
}

/// The action that closes connections, with the code and the reason that clients get.
fn closing(close: &Close) -> Action<'_> {
    let (code, reason) = close.as_sent();
    Action::Close { code, reason }
}

impl Dispatch for Action<'_> {
    type Error = ActionError;

    const CLOSED: ActionError = ActionError::Closed;

    fn is_overloaded(error: &ActionError) -> bool {
        *error == ActionError::Overloaded
    }

    fn to_shards(
        &self,
        shards: &Shards,
        pace: Pace,
        address: Address<'_>,
        except: &[ConnKey],
    ) -> Result<(), ActionError> {
        shards.act(pace, address, except, *self)
    }

    fn to_other_nodes(
        &self,
        bridge: &Bridge,
        address: Address<'_, ConnId>,
        except: &[ConnId],
    ) -> Option<Outgoing> {
        bridge.action(address, except, *self)
    }
}
