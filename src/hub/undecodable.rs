//! The log fields of a message that could not be decoded.
//!
//! The values come from the client, so they are cut to a bounded length and quoted in their `Debug`
//! form.

#[cfg(feature = "tracing")]
use std::fmt;

use crate::codec::DecodeError;
use crate::engine::FrameKind;

/// How many bytes of the payload are logged.
#[cfg(feature = "tracing")]
const START_BYTES: usize = 64;

/// How many characters of the reason are logged: a parser may quote the whole message in it.
#[cfg(feature = "tracing")]
const REASON_CHARS: usize = 200;

/// A copy of the start of a payload, made before the decoding: a codec may write to the payload.
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "used only for logs"))]
pub(super) struct PayloadStart {
    kind: FrameKind,
    bytes: usize,
    #[cfg(feature = "tracing")]
    start: [u8; START_BYTES],
}

impl PayloadStart {
    /// Copies the start of a payload. This runs for every message, and takes a few nanoseconds.
    #[inline]
    pub(super) fn copy(kind: FrameKind, payload: &[u8]) -> Self {
        Self {
            kind,
            bytes: payload.len(),
            #[cfg(feature = "tracing")]
            start: match payload.first_chunk() {
                Some(start) => *start,
                None => {
                    let mut start = [0; START_BYTES];
                    start[..payload.len()].copy_from_slice(payload);
                    start
                }
            },
        }
    }
}

/// A message that could not be decoded.
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "used only for logs"))]
pub(super) struct Undecodable<'a> {
    pub(super) error: &'a DecodeError,
    pub(super) start: &'a PayloadStart,
}

#[cfg(feature = "tracing")]
impl Undecodable<'_> {
    /// The reason of the error, cut.
    pub(super) fn reason(&self) -> impl fmt::Display {
        let reason: String = self.error.to_string().chars().take(REASON_CHARS).collect();
        format!("{reason:?}")
    }

    /// The number of bytes of the payload.
    pub(super) fn bytes(&self) -> usize {
        self.start.bytes
    }

    /// The first bytes of the payload.
    pub(super) fn start(&self) -> impl fmt::Display {
        let PayloadStart { kind, bytes, start } = self.start;
        let start = &start[..START_BYTES.min(*bytes)];
        match kind {
            // A character that is cut appears as a replacement character.
            FrameKind::Text => format!("{:?}", String::from_utf8_lossy(start)),
            FrameKind::Binary => format!("b\"{}\"", start.escape_ascii()),
        }
    }
}
