//! The settings for the plain channel, on which other programs publish.

use std::fmt;
use std::sync::Arc;

use super::Builder;
use crate::backplane::plain::{PAYLOAD_BYTES_LIMIT, PlainConfig, PlainError, Recode};
use crate::codec::{FromJson, encode_frame};
use crate::hub::BuildError;

/// Channels of nodes begin with this prefix. On such a channel, a payload of a node and one of
/// another program could not be distinguished.
const RESERVED_PREFIX: &str = "roomcast:";

/// The settings of the plain channel.
pub(super) struct PlainSettings {
    /// The name of the channel, and the function that turns the JSON of a message into the frame
    /// for clients.
    channel: Option<(String, Recode)>,
    payload_bytes_max: usize,
}

impl fmt::Debug for PlainSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainSettings")
            .field("channel", &self.channel.as_ref().map(|(name, _)| name))
            .field("payload_bytes_max", &self.payload_bytes_max)
            .finish()
    }
}

impl Default for PlainSettings {
    fn default() -> Self {
        Self { channel: None, payload_bytes_max: 64 * 1024 }
    }
}

/// # Other programs
/// Publishing from programs that do not use this crate.
impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    /// Sets the channel of the backplane on which other programs publish to the clients: a cron
    /// job, a back end in PHP or Python, `redis-cli`. Default: none; then only hubs publish.
    ///
    /// The Redis channel has exactly this name. Each node with this setting listens to the channel
    /// and delivers to its own members: set it on all nodes.
    ///
    /// ```text
    /// redis-cli PUBLISH chat:in '{"room": "tea", "message": {"text": "The kettle boils."}}'
    /// ```
    ///
    /// # Format
    /// A JSON object in UTF-8, with `message` and exactly one of the other fields:
    ///
    /// | field | value | the message goes to |
    /// |---|---|---|
    /// | `message` | any JSON that nests at most 64 deep | |
    /// | `room` | a string | the members of that room |
    /// | `rooms` | a list of 1 to 256 strings | the members of any of these rooms, each once |
    /// | `everyone` | `true` | all connections |
    ///
    /// The message is decoded from JSON as an `Out`, whatever codec the hub has, and then encoded
    /// by that codec. So clients get only messages that the hub itself could send. No handler gets
    /// the message. For a hub of [`RawMessage`](crate::RawMessage) it becomes a text message with
    /// the JSON as it was written.
    ///
    /// The whole payload has at most [`max_plain_bytes`](Self::max_plain_bytes) (64 KiB). Names of
    /// rooms have at most [`max_room_name_bytes`](Self::max_room_name_bytes) (255).
    ///
    /// All other payloads are dropped, such as a payload with an unknown field, or with a field
    /// twice. The program that published the payload gets no error.
    /// [`BackplaneHealth::plain_rejected`](crate::BackplaneHealth::plain_rejected) counts it on
    /// each node. A warning of `tracing` has the reason, at most once a second for each reason. It
    /// does not show the payload.
    ///
    /// # Signature
    /// With a backplane key (`backplane_key`, feature `hmac`), the payload must be signed with that
    /// key, or with any of `backplane_keys`:
    ///
    /// ```text
    /// hex(HMAC-SHA-256(key, "plain" + NUL + name of the channel + NUL + object)) + " " + object
    /// ```
    ///
    /// The signature is 64 hexadecimal digits in lower case. The page
    /// [`docs::scaling`](crate::docs) has an example in Python. Without a key, anyone who can
    /// publish on the channel can reach every client.
    ///
    /// # Delivery
    /// At most once. A node delivers the payloads in the order in which they arrive. There is no
    /// order between them and the messages of hubs. A payload that is published while Redis is
    /// down, or while a node is not subscribed, is lost for that node. Payloads have no number, so
    /// this loss is not counted. At most 8,192 payloads, 16 MiB in all, wait on a node. Further
    /// ones are dropped, and counted as [`plain_overrun`](crate::BackplaneHealth::plain_overrun).
    ///
    /// In a Redis Cluster, nodes subscribe to sharded channels: there, programs publish with
    /// `SPUBLISH`.
    ///
    /// # Cost
    /// One subscription. For each payload, on each node, whether or not the node has recipients: a
    /// hash (with a key), two passes of the JSON parser, one encoding, and one push per shard.
    ///
    /// # Errors
    /// [`build`](Self::build) fails with [`BuildError::PlainChannel`] if the channel can never
    /// work: if the hub has no backplane, or the name is empty, begins with `roomcast:` or contains
    /// a NUL.
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
    pub fn plain_channel(mut self, name: impl Into<String>) -> Self
    where
        Out: FromJson,
    {
        let codec = self.codec.clone();
        let recode = move |text: &mut [u8]| {
            let message = Out::from_json(text).map_err(|_| PlainError::Undecodable)?;
            encode_frame(&*codec, &message).map_err(|_| PlainError::Unencodable)
        };
        self.plain.channel = Some((name.into(), Arc::new(recode)));
        self
    }

    /// The longest payload on the [`plain_channel`](Self::plain_channel), in bytes, with its
    /// signature: 1 to 16,777,216 (16 MiB). Default: 65,536. Longer payloads are dropped, and
    /// counted as [`plain_too_large`](crate::BackplaneHealth::plain_too_large).
    ///
    /// This is not [`max_message_bytes`](Self::max_message_bytes), which bounds what clients send.
    /// A back end may send larger messages than clients may.
    ///
    /// # Errors
    /// A value out of range makes [`build`](Self::build) fail with [`BuildError::OutOfRange`].
    pub fn max_plain_bytes(mut self, bytes: usize) -> Self {
        self.plain.payload_bytes_max = bytes;
        self
    }

    /// Checks the settings of the plain channel.
    pub(super) fn check_plain(&self) -> Result<(), BuildError> {
        let PlainSettings { channel, payload_bytes_max } = &self.plain;
        let (setting, range) = ("max_plain_bytes", "1 to 16,777,216");
        super::check::in_range(setting, *payload_bytes_max, 1..=PAYLOAD_BYTES_LIMIT, range)?;
        let Some((channel, _)) = channel else { return Ok(()) };
        let fault = [
            (self.backplane.is_none(), "the hub has no backplane"),
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
    /// Converts to the plain channel of a bridge. `None` if no channel is set.
    pub(super) fn for_bridge(self, room_name_bytes_max: usize) -> Option<PlainConfig> {
        let (channel, recode) = self.channel?;
        Some(PlainConfig {
            channel: channel.into(),
            payload_bytes_max: self.payload_bytes_max,
            room_name_bytes_max,
            recode,
        })
    }
}
