//! The channel by which other programs publish.

use std::sync::Arc;

use super::Builder;
use crate::backplane::plain::{PAYLOAD_BYTES_LIMIT, Plain, PlainError};
use crate::codec::{Codec, encode_frame};
use crate::engine::FrameKind;
use crate::hub::BuildError;

/// Channels of nodes begin with this prefix. On such a channel, a payload of a node and one of another program
/// could not be told apart.
const RESERVED_PREFIX: &str = "roomcast:";

/// The settings of the plain channel.
#[derive(Debug)]
pub(super) struct PlainSettings {
    channel: Option<String>,
    payload_bytes_max: usize,
}

impl Default for PlainSettings {
    fn default() -> Self {
        Self { channel: None, payload_bytes_max: 64 * 1024 }
    }
}

impl<T: Send + 'static, C: Codec<T>> Builder<T, C> {
    /// A channel of the backplane on which other programs publish to the clients: a cron job, a back end
    /// in PHP or Python, `redis-cli`. Default: none, and only hubs publish.
    ///
    /// The channel is called exactly so at the server. On each node that has this setting, the hub
    /// listens to the channel and delivers to its own members, so give it to all nodes.
    ///
    /// ```text
    /// redis-cli PUBLISH chat:in '{"room": "tea", "message": {"text": "The kettle boils."}}'
    /// ```
    ///
    /// # Format
    /// A JSON object in UTF-8, with `message` and exactly one of the others:
    ///
    /// | field | value | the message goes to |
    /// |---|---|---|
    /// | `message` | any JSON that nests at most 64 deep | |
    /// | `room` | a string | the members of that room |
    /// | `rooms` | a list of 1 to 256 strings | the members of any of these rooms, each once |
    /// | `everyone` | `true` | all connections |
    ///
    /// The codec decodes the message as if a client had sent that text, and encodes it again. So clients get what
    /// the hub itself would send, and nothing that `T` does not know. No handler sees the message.
    ///
    /// The whole payload has at most [`max_plain_bytes`](Self::max_plain_bytes) (64 KiB). Names of rooms have at
    /// most [`max_room_name_bytes`](Self::max_room_name_bytes) (255).
    ///
    /// All other payloads are dropped, such as one with an unknown field, or with a field twice. The program that
    /// published it is not told. [`BackplaneHealth::plain_refused`](crate::BackplaneHealth::plain_refused) counts it
    /// on each node. A warning of `tracing` tells the reason, at most once a second for each reason. It shows nothing
    /// of the payload.
    ///
    /// # Signature
    /// With a backplane key (`backplane_key`, feature `hmac`), the payload must be signed with it, or with any of
    /// the keys:
    ///
    /// ```text
    /// hex(HMAC-SHA-256(key, "plain" + NUL + name of the channel + NUL + object)) + " " + object
    /// ```
    ///
    /// The signature is 64 digits in lower case. The page [`docs::scaling`](crate::docs) has it in Python. Without a
    /// key, whoever can publish on the channel reaches every client.
    ///
    /// # Delivery
    /// At most once. A node delivers in the order in which the payloads arrive, and keeps no order with what
    /// hubs publish. Payloads have no number, so a loss is not counted: what is published while Redis is away, or
    /// while a node is not subscribed, is lost for that node. At most 8,192 payloads, 16 MiB in all, wait on a
    /// node. More are dropped, and counted as
    /// [`plain_overrun`](crate::BackplaneHealth::plain_overrun).
    ///
    /// In a Redis Cluster, nodes subscribe to sharded channels: there, programs publish with `SPUBLISH`.
    ///
    /// # Cost
    /// A subscription. For each payload, on each node, whether or not it has such members: a hash (with a
    /// key), two passes of the JSON parser, one encoding, and one push per shard.
    ///
    /// # Errors
    /// [`build`](Self::build) fails with [`BuildError::PlainChannel`] where the channel can
    /// never work: without a backplane, with a codec that does not accept text, or with a name that is empty,
    /// begins with `roomcast:` or has a NUL in it.
    ///
    /// # Examples
    /// ```
    /// use roomcast::{Hub, Local};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), roomcast::BuildError> {
    /// # let redis = Local::new();
    /// let hub = Hub::<String>::builder()
    ///     .backplane(redis, "chat")
    ///     .plain_channel("chat:in")
    ///     .build()?;
    /// # assert_eq!(hub.count(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn plain_channel(mut self, name: impl Into<String>) -> Self {
        self.plain.channel = Some(name.into());
        self
    }

    /// The longest payload on the [`plain_channel`](Self::plain_channel), in bytes, with its signature: 1 to
    /// 16,777,216 (16 MiB). Default: 65,536. Longer payloads are dropped, and counted as
    /// [`plain_too_large`](crate::BackplaneHealth::plain_too_large).
    ///
    /// This is not [`max_message_bytes`](Self::max_message_bytes), which bounds what clients send. A back end may send
    /// larger messages than clients may.
    ///
    /// # Errors
    /// A value out of that range makes [`build`](Self::build) fail with [`BuildError::OutOfRange`].
    pub fn max_plain_bytes(mut self, bytes: usize) -> Self {
        self.plain.payload_bytes_max = bytes;
        self
    }

    /// Refuses a plain channel that can never work.
    pub(super) fn check_plain(&self) -> Result<(), BuildError> {
        let PlainSettings { channel, payload_bytes_max } = &self.plain;
        let (setting, range) = ("max_plain_bytes", "1 to 16,777,216");
        super::check::in_range(setting, *payload_bytes_max, 1..=PAYLOAD_BYTES_LIMIT, range)?;
        let Some(channel) = channel else { return Ok(()) };
        let fault = [
            (self.link.is_none(), "the hub has no backplane"),
            (!self.codec.accepts(FrameKind::Text), "the codec of the hub accepts no text"),
            (channel.is_empty(), "it is empty"),
            (channel.starts_with(RESERVED_PREFIX), "channels of nodes begin with \"roomcast:\""),
            (channel.contains('\0'), "it has a NUL in it"),
        ];
        match fault.into_iter().find(|(is_so, _)| *is_so) {
            None => Ok(()),
            Some((_, reason)) => Err(BuildError::PlainChannel { channel: channel.clone(), reason }),
        }
    }
}

impl PlainSettings {
    /// The channel for a bridge, with the way from the text of a message to the frame that clients get.
    pub(super) fn with<T: 'static>(
        self,
        codec: &Arc<dyn Codec<T>>,
        room_name_bytes_max: usize,
    ) -> Option<Plain> {
        let codec = codec.clone();
        let recode = move |text: &mut [u8]| {
            let message =
                codec.decode(FrameKind::Text, text).map_err(|_| PlainError::Undecodable)?;
            encode_frame(&*codec, &message).map_err(|_| PlainError::Unencodable)
        };
        Some(Plain {
            channel: self.channel?.into(),
            payload_bytes_max: self.payload_bytes_max,
            room_name_bytes_max,
            recode: Arc::new(recode),
        })
    }
}
