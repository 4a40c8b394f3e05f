//! Joins, leaves and lists the rooms of a connection.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::{Conn, Encoded, Hub, events};
use crate::backplane::Bridge;
use crate::engine::{Frames, JoinError, LeaveError};
use crate::runtime::deadline::timeout;
use crate::runtime::shield::shielded;

impl<Out: 'static, In: Send + 'static> Conn<Out, In> {
    /// Joins a room, and creates the room if it does not exist. Waits while the shard is
    /// overloaded.
    ///
    /// Joining a room twice is the same as joining it once. But each join counts towards
    /// [`max_rooms_per_conn`](crate::Builder::max_rooms_per_conn) until the shard has handled it.
    /// So a connection that has reached the limit is refused, even for a room of which it is a
    /// member.
    ///
    /// A later publish to the room, by this task or by a task that knows of the join, reaches the
    /// connection. For publishes of other nodes, this holds after
    /// [`join_subscribed`](Self::join_subscribed).
    ///
    /// # Errors
    /// See [`JoinError`], but never [`JoinError::Overloaded`]. The connection stays in its other
    /// rooms.
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
        self.hub().inner.shards.join(self.link(), room)
    }

    /// Leaves a room. Waits while the shard is overloaded. Leaving a room of which the connection
    /// is no member is not an error.
    ///
    /// A later publish to the room, by this task or by a task that knows of the leave, does not
    /// reach the connection.
    ///
    /// # Errors
    /// Today the call never fails: it waits until the shard has space for the leave.
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
    /// [`LeaveError::Overloaded`]: the inbox of the shard is full. The connection is still a
    /// member.
    pub fn try_leave(&self, room: &str) -> Result<(), LeaveError> {
        self.port().leave(self.link(), room)
    }

    /// Returns the names of the connection's rooms, in no particular order. After the end of the
    /// connection, these are its rooms at the end, or none if its shard is gone.
    ///
    /// Asks the shard, so the answer includes all earlier joins and leaves of this task.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn rooms(&self) -> Vec<String> {
        let (sender, answer) = oneshot::channel();
        self.port().ask_rooms(self.key(), Box::new(move |rooms| drop(sender.send(rooms))));
        let rooms = shielded(answer).await.unwrap_or_default();
        let rooms = self.link().end().map_or(&rooms, |end| &end.rooms);
        rooms.iter().map(|room| room.name().to_owned()).collect()
    }

    /// Joins a room as [`join`](Self::join) does, and first sends the messages that `first`
    /// returns.
    ///
    /// `first` returns an `Option`, a `Vec` or any other collection of [`Encoded`]. The connection
    /// gets these messages before all messages that are published to the room afterwards. An
    /// `Encoded` comes from [`Hub::encode`](crate::Hub::encode), or from a `RoomState`.
    ///
    /// If the hub has a [`RoomState`](crate::RoomState) and `first` reads it, the connection gets
    /// each message to the room exactly once, from the state or after the join. Without a state,
    /// the connection may miss a message that is published while `first` runs.
    ///
    /// The connection both joins and gets the messages, or neither. The call waits while the shard
    /// is overloaded, and for space in the queue of this client as [`send`](Self::send) does; there
    /// the messages count as one. `first` may run more than once. A connection that is already a
    /// member also gets the messages.
    ///
    /// All users of the room wait while `first` runs: return soon. `first` must neither publish to
    /// a room nor join a room.
    ///
    /// Cost: as `join`; two or more messages are copied into one buffer.
    ///
    /// # Errors
    /// As `join`.
    ///
    /// # Panics
    /// If `first` panics. The connection has not joined then.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, the connection has not joined and gets none
    /// of the messages.
    ///
    /// # Examples
    /// ```
    /// use std::collections::HashMap;
    /// use std::sync::Mutex;
    /// use roomcast::{Conn, Encoded, JoinError};
    ///
    /// /// Kept by a `RoomState`.
    /// type Last = Mutex<HashMap<String, Encoded>>;
    ///
    /// async fn enter(conn: &Conn<String>, room: &str, last: &Last) -> Result<(), JoinError> {
    ///     conn.join_with(room, || last.lock().unwrap().get(room).cloned()).await
    /// }
    /// ```
    pub async fn join_with<M>(
        &self,
        room: &str,
        mut first: impl FnMut() -> M + Send,
    ) -> Result<(), JoinError>
    where
        M: IntoIterator<Item = Encoded>,
    {
        let (link, hub) = (self.link(), &self.hub().inner);
        let bytes = AtomicUsize::new(0);
        let mut attempt =
            || match self.join_once(room, &mut first, Some(hub.send_wait_bytes_max), &bytes) {
                Err(JoinError::Overloaded) => None,
                result => Some(result),
            };
        match attempt() {
            Some(result) => result,
            // Boxed because it is rare: its size would count in every future that may wait.
            None => {
                let bytes = || bytes.load(Ordering::Relaxed);
                Box::pin(hub.send_waiting(link, bytes, attempt)).await
            }
        }
    }

    /// [`join_with`](Self::join_with) without waiting. It does not look at the client's queue: if
    /// the queue is full, [`Overflow`](crate::Overflow) decides.
    ///
    /// # Errors
    /// As `join_with`, and [`JoinError::Overloaded`]: the inbox of the shard is full.
    ///
    /// # Panics
    /// As `join_with`.
    pub fn try_join_with<M>(&self, room: &str, first: impl FnOnce() -> M) -> Result<(), JoinError>
    where
        M: IntoIterator<Item = Encoded>,
    {
        self.join_once(room, first, None, &AtomicUsize::new(0))
    }

    /// Joins with first messages, and stores their number of bytes in `bytes`.
    fn join_once<M>(
        &self,
        room: &str,
        first: impl FnOnce() -> M,
        bytes_max: Option<usize>,
        bytes: &AtomicUsize,
    ) -> Result<(), JoinError>
    where
        M: IntoIterator<Item = Encoded>,
    {
        let first = || {
            let run = run_of(first());
            bytes.store(run.len(), Ordering::Relaxed);
            run
        };
        self.hub().inner.shards.join_with(self.link(), room, first, bytes_max)
    }

    /// Joins a room as [`join`](Self::join) does, and then waits until the backplane has
    /// acknowledged the subscription of this node to the room.
    ///
    /// - `true`: this node now receives all messages of other nodes to the room. Without a
    ///   backplane, the call returns `true` at once.
    /// - `false`: [`subscribe_timeout`](crate::Builder::subscribe_timeout) is over, such as while
    ///   the backplane is down, or the hub is closing.
    ///
    /// The connection is a member in both cases. It gets the messages of its own node at once, and
    /// the messages of other nodes as soon as this node has subscribed.
    /// [`Stats::subscribe_timeouts`](crate::Stats::subscribe_timeouts) counts the calls that timed
    /// out.
    ///
    /// # Errors
    /// As `join`, and [`JoinError::Closed`] if the connection ends while the call waits.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, the connection may or may not have joined.
    pub async fn join_subscribed(&self, room: &str) -> Result<bool, JoinError> {
        self.join(room).await?;
        let Some(bridge) = &self.hub().inner.bridge else { return Ok(true) };
        if bridge.subscribed_to(room).now_or_never().is_some() {
            return Ok(true);
        }
        Box::pin(self.subscribed(bridge, room)).await
    }

    async fn subscribed(&self, bridge: &Bridge, room: &str) -> Result<bool, JoinError> {
        let hub = self.hub();
        let waiting = async {
            tokio::select! {
                biased;
                () = bridge.subscribed_to(room) => Ok(true),
                () = self.wait_until(|| false) => Err(JoinError::Closed),
                () = hub.when(|| hub.is_closing()) => Ok(false),
            }
        };
        let waited = shielded(timeout(hub.inner.subscribe_timeout, waiting)).await;
        waited.unwrap_or_else(|_| {
            hub.counters().subscribe_timeouts.add(1);
            hub.warn_unsubscribed();
            Ok(false)
        })
    }
}

impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    fn warn_unsubscribed(&self) {
        if let Some(times) = self.inner.warnings.unsubscribed.add() {
            events::not_subscribed(self.name(), self.inner.subscribe_timeout, times);
        }
    }
}

/// Joins messages into one run of frames. If one of them must stay plain, all do.
fn run_of(messages: impl IntoIterator<Item = Encoded>) -> Frames {
    let mut messages = messages.into_iter();
    let Some(Encoded(first)) = messages.next() else { return Frames::default() };
    let Some(Encoded(second)) = messages.next() else { return first };
    let mut is_compressible = first.is_compressible() && second.is_compressible();
    let mut run = BytesMut::from(&first[..]);
    run.extend_from_slice(&second);
    messages.for_each(|Encoded(frame)| {
        is_compressible &= frame.is_compressible();
        run.extend_from_slice(&frame);
    });
    let run = Frames::from(run.freeze());
    if is_compressible { run } else { run.uncompressed() }
}
