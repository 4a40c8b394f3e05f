//! Acting on the connections of a target: closing them, and moving them in and out of rooms.

use super::Hub;
use super::publishing::Dispatch;
use crate::backplane::{Bridge, ConnId, Outgoing, Target};
use crate::engine::{Action, ActionError, Address, Close, ConnKey, Pace};
use crate::shards::Shards;

/// # Acting on connections
/// These calls act on the connections of a [`Target`] here and, with a backplane, on the other nodes:
/// moderation, "log out everywhere", or moving a party into a room. Each waits
/// while there is no space; its form in `try_` fails at once with [`ActionError::Overloaded`].
impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// Closes the connections of a target, here at once and, with a backplane, on the other nodes.
    ///
    /// Each gets what was sent to it before this call, and then a close frame. Its `on_disconnect` is told
    /// [`DisconnectReason::ClosedByServer`](crate::DisconnectReason::ClosedByServer) with this close, as
    /// after [`Conn::close_with`](crate::Conn::close_with). What is published after this call does not reach
    /// it. A reason is cut at 123 bytes. A code that may not be sent makes a close frame without code and
    /// reason, and counts as 1005. A target without connections is no error. Connections that are opened after
    /// the call stay.
    ///
    /// To end the whole hub, see [`shutdown`](Self::shutdown).
    ///
    /// Cost: one push per shard with connections of the target, and one encoded message for the other nodes.
    /// A shard then takes the connections out of their rooms. This takes 0.3 µs for each connection, and the rest of
    /// its inbox waits. Each close frame is one write; the writes are spread over slices between messages to others.
    ///
    /// # Delivery
    /// At most once, in the order of the messages of the same publisher; on other nodes within one channel (see
    /// [`join`](Self::join)). [`BackplaneHealth`](crate::BackplaneHealth) counts an action as a message:
    /// `published`, `received`, `lost`, `dropped`, `unreached`, `duplicates`. `Ok` says that the action is queued
    /// here and for the other nodes. A node that it does not reach closes nothing.
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
    /// As `close`, and [`ActionError::Overloaded`]: the inbox of a shard is full, nobody is closed.
    pub fn try_close(
        &self,
        target: &Target<'_>,
        close: impl Into<Close>,
    ) -> Result<(), ActionError> {
        let close = close.into();
        self.act(target, closing(&close))
    }

    /// Has the connections of a target enter a room, here at once and, with a backplane, on the other nodes.
    /// The room is made if need be, but not where it would have no members.
    ///
    /// A publish to the room that follows, by this task or by one that was told, reaches the connections of
    /// this node. A message that was published before does not. Those that are in the room already stay in it.
    /// [`member_count`](Self::member_count) counts the joins when the shards have seen them.
    ///
    /// A connection that is in as many rooms as it may be
    /// ([`max_rooms_per_conn`](crate::Builder::max_rooms_per_conn)) does not enter, and is counted in
    /// [`Stats::refused_joins`](crate::Stats::refused_joins) of its node. Another node may have other limits. If the
    /// name is too long there, or that node has no more rooms, nobody enters there, and that node counts it in
    /// [`Stats::refused_rooms`](crate::Stats::refused_rooms).
    ///
    /// Cost: one push per shard with connections, and one encoded message for the other nodes. A shard then
    /// needs 0.1 to 0.2 µs per connection, for which all that follows in its inbox waits.
    ///
    /// # Delivery
    /// As [`close`](Self::close). On other nodes the order holds within a channel of the backplane. With one
    /// channel (the default), a message to the room that follows this call reaches all who have entered. With
    /// several ([`channels`](crate::Builder::channels)), the action goes by the channel of its target, and a
    /// message to the room by that of the room: it may come to another node before the action, or before that
    /// node has subscribed for its new members, who then miss it.
    ///
    /// # Errors
    /// [`ActionError::NameTooLong`], [`ActionError::NoMoreRooms`]: nobody enters,
    /// here or on another node. If the target is a connection of another node, this node does not check the limits. [`ActionError::Closed`]: the hub is closed.
    ///
    /// # Cancel safety
    /// As [`to_room`](Self::to_room).
    ///
    /// # Examples
    /// ```
    /// use roomcast::{ActionError, ConnId, Hub, Target};
    ///
    /// // All who are in the party enter the match, but for those who watch.
    /// async fn begin(hub: &Hub<String>, watching: Vec<ConnId>) -> Result<(), ActionError> {
    ///     hub.join(&Target::room("party:7").except_all(watching), "match:1").await
    /// }
    /// ```
    pub async fn join(&self, target: &Target<'_>, room: &str) -> Result<(), ActionError> {
        self.act_wait(target, Action::Join(room)).await
    }

    /// [`join`](Self::join) without waiting.
    ///
    /// # Errors
    /// As `join`, and [`ActionError::Overloaded`]: the inbox of a shard is full, nobody enters.
    pub fn try_join(&self, target: &Target<'_>, room: &str) -> Result<(), ActionError> {
        self.act(target, Action::Join(room))
    }

    /// Has the connections of a target leave a room, here at once and, with a backplane, on the other nodes.
    /// It is no error not to be in it.
    ///
    /// A later publish to the room, by this task or by one that knows of this call, does not reach the connections of
    /// this node. On other nodes this holds within one channel: see [`join`](Self::join). An earlier message still
    /// reaches them. [`member_count`](Self::member_count) and the limit of rooms per connection
    /// count the leaves when the shards have seen them.
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
    /// As `leave`, and [`ActionError::Overloaded`]: the inbox of a shard is full, nobody leaves.
    pub fn try_leave(&self, target: &Target<'_>, room: &str) -> Result<(), ActionError> {
        self.act(target, Action::Leave(room))
    }

    async fn act_wait(&self, target: &Target<'_>, action: Action<'_>) -> Result<(), ActionError> {
        self.publish_waiting(target.address(), target.excepted(), &action).await
    }

    fn act(&self, target: &Target<'_>, action: Action<'_>) -> Result<(), ActionError> {
        self.publish_at(target.address(), target.excepted(), &action)
    }
}

/// The action that closes, with the code and the reason as clients get them.
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
