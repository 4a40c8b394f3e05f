//! Messages of other programs: JSON on the plain channel, for the members of each node.
//!
//! ```text
//! any program ─► driver ─► Arrivals ─► Delivering ─► ThisNode
//!                          size,       parse,
//!                          signature,  the codec
//!                          a bounded
//!                          queue
//! ```
//!
//! Every node that listens to the channel delivers to its own members, and publishes nothing again.
//! The queue and the task are separate from those of envelopes, so that a flood here takes no space
//! from envelopes. This module does not know the message type: the hub gives it a function
//! ([`Recode`]).

mod arrivals;
mod delivering;
mod error;
mod events;
mod payload;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use self::arrivals::Arrivals;
pub(crate) use self::arrivals::PAYLOAD_BYTES_LIMIT;
pub(crate) use self::delivering::Delivering;
pub(crate) use self::error::PlainError;
pub(crate) use self::payload::parse;

/// Decodes the JSON text of a message, in place, and encodes it as the frame that clients get.
pub(crate) type Recode = Arc<dyn Fn(&mut [u8]) -> Result<Bytes, PlainError> + Send + Sync>;

/// The settings of a plain channel.
#[derive(Clone)]
pub(crate) struct PlainConfig {
    /// The full name of the channel.
    pub(crate) channel: Arc<str>,
    /// The most bytes of a payload, including its signature.
    pub(crate) payload_bytes_max: usize,
    /// The most bytes of a room's name.
    pub(crate) room_name_bytes_max: usize,
    pub(crate) recode: Recode,
}

impl fmt::Debug for PlainConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain")
            .field("channel", &self.channel)
            .field("payload_bytes_max", &self.payload_bytes_max)
            .finish_non_exhaustive()
    }
}
