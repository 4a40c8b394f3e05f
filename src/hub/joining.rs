//! [`Conn::join_with`]: joining a room with first messages.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};

use super::{Conn, Encoded};
use crate::engine::JoinError;

impl<Out: 'static, In: Send + 'static> Conn<Out, In> {
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
}

/// Joins messages into one run of frames.
fn run_of(messages: impl IntoIterator<Item = Encoded>) -> Bytes {
    let mut messages = messages.into_iter();
    let Some(Encoded(first)) = messages.next() else { return Bytes::new() };
    let Some(Encoded(second)) = messages.next() else { return first };
    let mut run = BytesMut::from(&first[..]);
    run.extend_from_slice(&second);
    messages.for_each(|Encoded(frame)| run.extend_from_slice(&frame));
    run.freeze()
}
