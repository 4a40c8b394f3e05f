//! Publishing: the waiting calls, and their `try_` forms that fail at once.

use tokio::sync::oneshot;

use super::{AsMessage, Hub, Inner, PublishError, session};
use crate::backplane::{Bridge, ConnId, Outgoing, Target};
use crate::codec::{EncodeError, encode_frame};
use crate::engine::{Address, ConnKey, Frames, Link, Pace, Stage, frame};
use crate::runtime::shield::shielded;
use crate::shards::Shards;

/// A message that is already encoded, to be sent several times. [`Hub::encode`] makes one. Clones
/// share the bytes.
#[derive(Debug, Clone)]
pub struct Encoded(pub(super) Frames);

impl Encoded {
    /// The bytes of the WebSocket frame, with its header.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same message, never to be compressed: see [`Uncompressed`](super::Uncompressed).
    pub fn uncompressed(self) -> Self {
        Self(self.0.uncompressed())
    }

    /// The bytes that the codec has written: the frame without its header.
    pub fn payload(&self) -> &[u8] {
        frame::payload(&self.0)
    }
}

/// A message or an action on connections: it goes to the shards of this node, and to the other
/// nodes.
pub(super) trait Dispatch {
    /// The reason of a refusal.
    type Error;

    /// The error of a closed hub.
    const CLOSED: Self::Error;

    /// Whether the error says that a shard has no space.
    fn is_overloaded(error: &Self::Error) -> bool;

    /// Queues `self` in the inboxes of the shards that have recipients.
    fn to_shards(
        &self,
        shards: &Shards,
        pace: Pace,
        address: Address<'_>,
        except: &[ConnKey],
    ) -> Result<(), Self::Error>;

    /// Makes the message for the other nodes; `None` if they cannot have recipients.
    fn to_other_nodes(
        &self,
        bridge: &Bridge,
        address: Address<'_, ConnId>,
        except: &[ConnId],
    ) -> Option<Outgoing>;
}

impl Dispatch for Encoded {
    type Error = PublishError;

    const CLOSED: PublishError = PublishError::Closed;

    fn is_overloaded(error: &PublishError) -> bool {
        matches!(error, PublishError::Overloaded)
    }

    fn to_shards(
        &self,
        shards: &Shards,
        pace: Pace,
        address: Address<'_>,
        except: &[ConnKey],
    ) -> Result<(), PublishError> {
        Ok(shards.publish(pace, address, except, &self.0)?)
    }

    fn to_other_nodes(
        &self,
        bridge: &Bridge,
        address: Address<'_, ConnId>,
        except: &[ConnId],
    ) -> Option<Outgoing> {
        bridge.message(address, except, &self.0)
    }
}

/// # Publishing
/// Each call has two forms. The waiting call waits while there is no space. Use it in handlers and
/// loops: it slows down a publisher that is too fast. The `try_` form fails at once with
/// [`PublishError::Overloaded`]. Use it in code that cannot await, and for messages that are
/// useless when they are late. Neither form waits until a client has received the message.
impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// Queues `message` for every connection. Waits as [`to_room`](Self::to_room) does, while too
    /// many bytes are on their way to everyone or to targets of several rooms.
    ///
    /// # Errors
    /// As [`to_room`](Self::to_room).
    ///
    /// # Cancel safety
    /// As [`to_room`](Self::to_room).
    pub fn broadcast<'a, M: AsMessage<Out> + ?Sized>(
        &'a self,
        message: &M,
    ) -> impl Future<Output = Result<(), PublishError>> + Send + use<'a, M, Out, In> {
        self.wait_for_space(Address::Everyone, &[], self.encode(message))
    }

    /// [`broadcast`](Self::broadcast) without waiting.
    ///
    /// # Errors
    /// As [`try_to_room`](Self::try_to_room).
    pub fn try_broadcast<M: AsMessage<Out> + ?Sized>(
        &self,
        message: &M,
    ) -> Result<(), PublishError> {
        self.try_publish(&Target::everyone(), message)
    }

    /// Queues `message` for every member of `room`. Waits while too many bytes are on their way to
    /// the room, or while the inbox of a shard with members is more than half full
    /// ([`inbox_messages`](crate::Builder::inbox_messages)). A room without members is not an
    /// error.
    ///
    /// In each shard, 2 MiB may be on their way to the members of a room, or half of the inbox if
    /// that is less. This is enough to keep the shard busy, and a flood of one room delays other
    /// rooms by only milliseconds. The call does not wait for the clients.
    ///
    /// With a backplane, the members on this node get the message first. Then, if the backplane is
    /// up, the call waits while 4 MiB or 32,768 messages are queued for it (or half of the outbox,
    /// if that is less), so that no message is dropped there. The call does not wait for a backplane
    /// that is down, nor while messages [wait for other nodes](crate::Builder::rejoin_wait).
    ///
    /// # Errors
    /// [`PublishError::Encode`]: nothing was queued. [`PublishError::Closed`]: the hub is closed.
    /// Never [`PublishError::Overloaded`].
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, there are two cases. Either nothing was
    /// queued, or the members on this node get the message and it is queued for the other nodes
    /// without further waiting.
    pub fn to_room<'a, M: AsMessage<Out> + ?Sized>(
        &'a self,
        room: &'a str,
        message: &M,
    ) -> impl Future<Output = Result<(), PublishError>> + Send + use<'a, M, Out, In> {
        self.wait_for_space(Address::Room(room), &[], self.encode(message))
    }

    /// [`to_room`](Self::to_room) without waiting.
    ///
    /// # Errors
    /// As `to_room`, and [`PublishError::Overloaded`]: the inbox of a shard is full, and no client
    /// gets the message. A full outbox is not an error: it drops its oldest messages.
    pub fn try_to_room<M: AsMessage<Out> + ?Sized>(
        &self,
        room: &str,
        message: &M,
    ) -> Result<(), PublishError> {
        self.try_publish(&Target::room(room), message)
    }

    /// Queues `message` for a [`Target`]. Waits as [`to_room`](Self::to_room) does. If the target
    /// is one connection of this node, it waits as [`Conn::send`](crate::Conn::send) does.
    ///
    /// # Errors
    /// As [`to_room`](Self::to_room).
    ///
    /// # Cancel safety
    /// As [`to_room`](Self::to_room).
    ///
    /// # Examples
    /// ```
    /// use roomcast::{Conn, PublishError, Target};
    ///
    /// async fn send_to_other_members(conn: &Conn<String>, text: &String) -> Result<(), PublishError> {
    ///     conn.hub().publish(&Target::room("lobby").except(conn.id()), text).await
    /// }
    /// ```
    pub fn publish<'a, M: AsMessage<Out> + ?Sized>(
        &'a self,
        target: &'a Target<'_>,
        message: &M,
    ) -> impl Future<Output = Result<(), PublishError>> + Send + use<'a, M, Out, In> {
        self.wait_for_space(target.address(), target.excepted(), self.encode(message))
    }

    /// [`publish`](Self::publish) without waiting.
    ///
    /// # Errors
    /// As [`try_to_room`](Self::try_to_room).
    pub fn try_publish<M: AsMessage<Out> + ?Sized>(
        &self,
        target: &Target<'_>,
        message: &M,
    ) -> Result<(), PublishError> {
        self.try_publish_encoded(target, &self.encode(message)?)
    }

    /// Encodes a message once, to send it several times.
    ///
    /// # Errors
    /// [`PublishError::Encode`]: the message cannot be encoded.
    pub fn encode<M: AsMessage<Out> + ?Sized>(&self, message: &M) -> Result<Encoded, PublishError> {
        Ok(self.inner.encode(message)?)
    }

    /// Queues an encoded message for a [`Target`]. Waits as [`publish`](Self::publish) does.
    ///
    /// # Errors
    /// [`PublishError::Closed`]: the hub is closed.
    ///
    /// # Cancel safety
    /// As [`to_room`](Self::to_room).
    pub fn publish_encoded<'a>(
        &'a self,
        target: &'a Target<'_>,
        message: &Encoded,
    ) -> impl Future<Output = Result<(), PublishError>> + Send + use<'a, Out, In> {
        self.wait_for_space(target.address(), target.excepted(), Ok(message.clone()))
    }

    /// [`publish_encoded`](Self::publish_encoded) without waiting.
    ///
    /// # Errors
    /// As [`try_to_room`](Self::try_to_room), except [`PublishError::Encode`].
    pub fn try_publish_encoded(
        &self,
        target: &Target<'_>,
        message: &Encoded,
    ) -> Result<(), PublishError> {
        self.publish_now(target.address(), target.excepted(), message)
    }

    /// The common part of the waiting calls. Keep the future small: a handler that publishes awaits
    /// it for each message.
    #[expect(clippy::manual_async_fn, reason = "an async fn would hold its arguments twice")]
    fn wait_for_space<'a>(
        &'a self,
        address: Address<'a, ConnId>,
        except: &'a [ConnId],
        message: Result<Encoded, PublishError>,
    ) -> impl Future<Output = Result<(), PublishError>> + Send + use<'a, Out, In> {
        async move {
            let message = message?;
            if let Some(Address::Conn(key)) = address.on(self.inner.node) {
                return Box::pin(self.publish_to_conn(key, address, except, message)).await;
            }
            self.publish_waiting(address, except, &message).await
        }
    }

    /// Publishes to the members on this node, and then to the other nodes. Waits for space before
    /// each of the two.
    pub(super) async fn publish_waiting<E: Dispatch>(
        &self,
        address: Address<'_, ConnId>,
        except: &[ConnId],
        dispatch: &E,
    ) -> Result<(), E::Error> {
        let attempt = || self.publish_here_once(Pace::Patient, address, except, dispatch);
        match attempt() {
            Some(result) => result?,
            // Boxed because it is rare: its size would count in every future that may wait.
            None => Box::pin(self.inner.shards.until(attempt)).await?,
        }
        let Some(bridge) = &self.inner.bridge else { return Ok(()) };
        if let Some(outgoing) = dispatch.to_other_nodes(bridge, address, except) {
            bridge.send_in_time(outgoing).await;
        }
        Ok(())
    }

    /// [`publish_here`](Self::publish_here) for callers that try again: `None` if a shard has no
    /// space.
    fn publish_here_once<E: Dispatch>(
        &self,
        pace: Pace,
        address: Address<'_, ConnId>,
        except: &[ConnId],
        dispatch: &E,
    ) -> Option<Result<(), E::Error>> {
        match self.publish_here(pace, address, except, dispatch) {
            Err(error) if E::is_overloaded(&error) => None,
            result => Some(result),
        }
    }

    /// Publishes to one connection of this node. Waits for space in the connection's queue.
    async fn publish_to_conn(
        &self,
        key: ConnKey,
        address: Address<'_, ConnId>,
        except: &[ConnId],
        message: Encoded,
    ) -> Result<(), PublishError> {
        let inner = &self.inner;
        let (sender, answer) = oneshot::channel();
        if let Some(port) = inner.shards.port(key) {
            port.ask_link(key, Box::new(move |link| drop(sender.send(link))));
        }
        let is_excepted = except.iter().any(|id| id.key_on(inner.node) == Some(key));
        let link = shielded(answer).await.ok().flatten().filter(|_| !is_excepted);
        let Some(link) = link else {
            // There is no recipient. The shard counts the message as lost, unless the recipient is
            // excepted.
            let attempt = || self.publish_here_once(Pace::Urgent, address, except, &message);
            return inner.shards.until(attempt).await;
        };
        let attempt = || {
            if self.is_closed() {
                return Some(Err(PublishError::Closed));
            }
            if link.stage() > Stage::Open {
                // Its shard counts the message as lost.
                return inner.shards.send(&link, &message.0, None).ok().map(Ok);
            }
            let bytes_max = Some(inner.send_wait_bytes_max);
            inner.shards.send(&link, &message.0, bytes_max).ok().map(Ok)
        };
        match attempt() {
            Some(result) => result,
            None => inner.send_waiting(&link, || message.0.len(), attempt).await,
        }
    }

    /// Publishes to the members on this node, and then to the other nodes, without waiting.
    pub(super) fn publish_now<E: Dispatch>(
        &self,
        address: Address<'_, ConnId>,
        except: &[ConnId],
        dispatch: &E,
    ) -> Result<(), E::Error> {
        self.publish_here(Pace::Urgent, address, except, dispatch)?;
        if let Some(bridge) = &self.inner.bridge
            && let Some(outgoing) = dispatch.to_other_nodes(bridge, address, except)
        {
            bridge.send(outgoing);
        }
        Ok(())
    }

    /// Publishes to the members on this node, if the address can have members here.
    fn publish_here<E: Dispatch>(
        &self,
        pace: Pace,
        address: Address<'_, ConnId>,
        except: &[ConnId],
        dispatch: &E,
    ) -> Result<(), E::Error> {
        if self.is_closed() {
            return Err(E::CLOSED);
        }
        let Some(address) = address.on(self.inner.node) else { return Ok(()) };
        let shards = &*self.inner.shards;
        let key = |id: &ConnId| id.key_on(self.inner.node);
        // No allocation in the usual cases: no exception, or the sender alone.
        if let [] | [_] = except {
            let key = except.first().and_then(key);
            return dispatch.to_shards(shards, pace, address, key.as_slice());
        }
        let keys: Vec<ConnKey> = except.iter().filter_map(key).collect();
        dispatch.to_shards(shards, pace, address, &keys)
    }
}

impl<Out: 'static, In: 'static> Inner<Out, In> {
    pub(super) fn encode<M: AsMessage<Out> + ?Sized>(
        &self,
        message: &M,
    ) -> Result<Encoded, EncodeError> {
        let frame = message.with_message(|message| encode_frame(&*self.codec, message))?;
        let frame = Frames::from(frame);
        Ok(Encoded(if message.is_compressible() { frame } else { frame.uncompressed() }))
    }

    /// Calls `attempt`, which sends `bytes` to a connection, until it gives a result. Waits for
    /// space in the connection's queue first, and then in the inbox of its shard. An attempt may
    /// change the number of bytes.
    pub(super) async fn send_waiting<R>(
        &self,
        link: &Link,
        bytes: impl Fn() -> usize,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> R {
        let has_space = || link.has_space(bytes(), self.send_wait_bytes_max);
        loop {
            session::wait_until(link, || link.stage() > Stage::Open || has_space()).await;
            let mut attempt = || {
                let result = attempt().map(Some);
                result.or_else(|| (!has_space()).then_some(None))
            };
            if let Some(result) = self.shards.until(&mut attempt).await {
                return result;
            }
        }
    }
}
