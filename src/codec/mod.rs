//! Codecs: they encode messages into payloads of frames, and decode payloads into messages.
//!
//! [`Json`] is the default. [`Raw`] passes text and binary messages through. Implement [`Codec`]
//! for a codec of your own:
//!
//! ```
//! use roomcast::{Codec, DecodeError, EncodeError, FrameKind};
//!
//! /// Positions as two little-endian numbers.
//! struct Positions;
//!
//! impl Codec<(f32, f32)> for Positions {
//!     fn encode(&self, at: &(f32, f32), out: &mut Vec<u8>) -> Result<FrameKind, EncodeError> {
//!         out.extend_from_slice(&at.0.to_le_bytes());
//!         out.extend_from_slice(&at.1.to_le_bytes());
//!         Ok(FrameKind::Binary)
//!     }
//!
//!     fn accepts(&self, kind: FrameKind) -> bool {
//!         kind == FrameKind::Binary
//!     }
//!
//!     fn decode(&self, _: FrameKind, payload: &mut [u8]) -> Result<(f32, f32), DecodeError> {
//!         let bytes: [u8; 8] = (&*payload).try_into().map_err(DecodeError::new)?;
//!         let [x0, x1, x2, x3, y0, y1, y2, y3] = bytes;
//!         Ok((f32::from_le_bytes([x0, x1, x2, x3]), f32::from_le_bytes([y0, y1, y2, y3])))
//!     }
//! }
//!
//! let mut payload = Vec::new();
//! Positions.encode(&(1.0, 2.0), &mut payload)?;
//! assert_eq!(Positions.decode(FrameKind::Binary, &mut payload)?, (1.0, 2.0));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "json")]
mod json;
mod never;
mod raw;

use std::cell::Cell;
use std::error::Error;
use std::fmt;

use bytes::Bytes;

#[cfg(feature = "json")]
pub use self::json::{FromJson, Json};
pub use self::never::Never;
pub use self::raw::{Raw, RawMessage};
use crate::engine::frame::{self, HEADER_BYTES_MAX};
use crate::engine::{FrameKind, copy_for_many};

/// The largest encode buffer that a thread keeps, in bytes. Larger messages are rare, and allocate
/// each time.
const BUFFER_BYTES_KEPT: usize = 64 * 1024;

type BoxError = Box<dyn Error + Send + Sync>;

/// Encodes the messages that the server sends (`Out`), and decodes the messages of clients (`In`).
///
/// A hub encodes a message once, whatever the number of its recipients. It decodes each message of
/// a client before it calls the handler.
pub trait Codec<Out, In = Out>: Send + Sync + 'static {
    /// Appends the payload of `message` to `out`, and returns the kind of its frame. A
    /// [`FrameKind::Text`] payload must be UTF-8. `out` may already have content, which must stay
    /// as it is.
    ///
    /// # Errors
    /// If `message` has no representation. The hub then discards the appended bytes.
    fn encode(&self, message: &Out, out: &mut Vec<u8>) -> Result<FrameKind, EncodeError>;

    /// Whether clients may send this kind of frame. A frame of a kind that is not accepted closes
    /// the connection with 1003.
    fn accepts(&self, kind: FrameKind) -> bool;

    /// Whether an empty text is a message. Default: `false`. Then the hub treats an empty text as a
    /// heartbeat, and answers it by itself ([`Builder::heartbeats`](crate::Builder::heartbeats)).
    fn takes_empty_text(&self) -> bool {
        false
    }

    /// Decodes a message. The payload may be changed, so a parser can work in place.
    ///
    /// # Errors
    /// If the payload is not a message. The hub then calls
    /// [`on_decode_error`](crate::Handler::on_decode_error), and the connection stays open.
    fn decode(&self, kind: FrameKind, payload: &mut [u8]) -> Result<In, DecodeError>;
}

/// Encodes `message` into one frame.
#[cfg_attr(not(feature = "hub"), expect(dead_code, reason = "used only by the hub"))]
pub(crate) fn encode_frame<Out: 'static, In: 'static>(
    codec: &dyn Codec<Out, In>,
    message: &Out,
) -> Result<Bytes, EncodeError> {
    thread_local!(static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });
    // Taken, not borrowed: a `Serialize` of the application may itself encode a message.
    let mut buffer = BUFFER.take();
    buffer.clear();
    buffer.resize(HEADER_BYTES_MAX, 0);
    let kind = codec.encode(message, &mut buffer);
    if buffer.len() < HEADER_BYTES_MAX {
        return Err(EncodeError::new("the codec has shortened the buffer that it appends to"));
    }
    let frame = kind.map(|kind| copy_for_many(frame::seal(kind, &mut buffer)));
    if buffer.capacity() <= BUFFER_BYTES_KEPT {
        BUFFER.set(buffer);
    }
    frame
}

/// The error of [`Codec::encode`]: a message could not be encoded.
pub struct EncodeError(BoxError);

/// The error of [`Codec::decode`]: a payload is not a message.
pub struct DecodeError(BoxError);

macro_rules! codec_error {
    ($name:ident, $what:literal) => {
        impl $name {
            /// Makes an error from its cause.
            pub fn new(cause: impl Into<BoxError>) -> Self {
                Self(cause.into())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.0).finish()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($what, ": {}"), self.0)
            }
        }

        impl Error for $name {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&*self.0)
            }
        }
    };
}

codec_error!(EncodeError, "message not encodable");
codec_error!(DecodeError, "message not decodable");
