//! What is told of a message that could not be decoded.
//!
//! All of it comes from the client: it is bounded, and quoted in its `Debug` form.

#[cfg(feature = "tracing")]
use std::fmt;

use crate::codec::DecodeError;
use crate::engine::FrameKind;

/// Bytes of the payload that are told.
#[cfg(feature = "tracing")]
const START_BYTES: usize = 64;

/// Characters of the reason that are told: a parser may quote all of the message in it.
#[cfg(feature = "tracing")]
const REASON_CHARS: usize = 200;

/// The start of a payload, kept while it is decoded: a codec may write to the payload.
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "nobody is told"))]
pub(super) struct PayloadStart {
    kind: FrameKind,
    bytes: usize,
    #[cfg(feature = "tracing")]
    start: [u8; START_BYTES],
}

impl PayloadStart {
    /// Copies the start of every message that is decoded: a few nanoseconds.
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
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "nobody is told"))]
pub(super) struct Undecodable<'a> {
    pub(super) error: &'a DecodeError,
    pub(super) start: &'a PayloadStart,
}

#[cfg(feature = "tracing")]
impl Undecodable<'_> {
    /// Why, cut.
    pub(super) fn reason(&self) -> impl fmt::Display {
        let reason: String = self.error.to_string().chars().take(REASON_CHARS).collect();
        format!("{reason:?}")
    }

    /// The bytes of its payload.
    pub(super) fn bytes(&self) -> usize {
        self.start.bytes
    }

    /// The first of them.
    pub(super) fn start(&self) -> impl fmt::Display {
        let PayloadStart { kind, bytes, start } = self.start;
        let start = &start[..START_BYTES.min(*bytes)];
        match kind {
            // A character that is cut shows as a replacement.
            FrameKind::Text => format!("{:?}", String::from_utf8_lossy(start)),
            FrameKind::Binary => format!("b\"{}\"", start.escape_ascii()),
        }
    }
}
