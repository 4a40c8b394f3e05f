//! Access to private parts, for the benchmarks and the fuzz targets of this crate.
//!
//! This is not part of the API: it may change or disappear in any version.

mod decoder;
mod envelope;
#[cfg(feature = "deflate")]
mod offers;
#[cfg(roomcast_loom)]
pub mod parts;
#[cfg(all(feature = "hub", feature = "json"))]
mod plain;
mod upgrade;

use bytes::Bytes;

#[cfg(feature = "deflate")]
pub use decoder::decode_compressed;
pub use decoder::{Decoded, FrameDecoder, decode};
#[cfg(feature = "hmac")]
pub use envelope::Signer;
pub use envelope::{each_message, pack};
#[cfg(feature = "deflate")]
pub use offers::negotiate;
#[cfg(all(feature = "hub", feature = "json"))]
pub use plain::plain;
pub use upgrade::upgrade;

pub use crate::backplane::To;
pub use crate::backplane::envelope::{
    ConnIds, Envelope, EnvelopeBody, EnvelopeHeader, Heartbeat, MessageContent, Packer, Report,
    RollCall, RollCallAnswer, RoomCount, RoomNames, Unreadable, WireMessage, WireMessages, encode,
};
use crate::codec::{Codec, EncodeError};

/// Encodes `message` into one frame, as a hub does before it publishes.
///
/// # Errors
/// If the codec fails.
pub fn encode_frame<Out: 'static, In: 'static>(
    codec: &dyn Codec<Out, In>,
    message: &Out,
) -> Result<Bytes, EncodeError> {
    crate::codec::encode_frame(codec, message)
}

/// Makes a compressor that copies messages smaller than `message_bytes_min`. If it is thorough, it takes more time for
/// fewer bytes.
#[cfg(feature = "deflate")]
pub fn deflater(
    is_thorough: bool,
    window_bits: u8,
    message_bytes_min: usize,
) -> Box<dyn crate::engine::Compressor> {
    use crate::ws::{Deflater, Effort};
    let effort = if is_thorough { Effort::THOROUGH } else { Effort::FAST };
    Box::new(Deflater::new(effort, window_bits, message_bytes_min))
}
