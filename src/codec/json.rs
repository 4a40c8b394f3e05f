//! [`Json`]: the codec for JSON in text frames.

use std::any::TypeId;
use std::cell::Cell;

use serde::Serialize;
use serde::de::DeserializeOwned;
use simd_json::Buffers;

use super::{Codec, DecodeError, EncodeError, Never, Raw, RawMessage};
use crate::engine::FrameKind;

/// The default of [`Json::max_depth`]. With the parser's own default of 1,024, a client could
/// overflow the stack of a worker thread (2 MiB) through a recursive type.
const DEPTH_MAX: usize = 64;

/// A thread keeps its parse buffers, unless the payload is larger than this, in bytes: they grow with
/// the payload.
const PAYLOAD_BYTES_KEPT: usize = 64 * 1024;

/// The codec for JSON in text frames, and the default codec of a hub. A binary frame closes the
/// connection with 1003.
///
/// It encodes types that implement `serde::Serialize`, with `serde_json`: what the server sends may
/// contain a `Value` or a `RawValue` of that crate. It decodes types that implement
/// `serde::de::DeserializeOwned`, with `simd-json`: in place, with buffers that each thread keeps.
#[derive(Debug, Clone, Copy)]
pub struct Json {
    depth_max: usize,
}

impl Json {
    /// Makes a codec for JSON that nests at most 64 levels deep.
    pub const fn new() -> Self {
        Self { depth_max: DEPTH_MAX }
    }

    /// Sets how deep arrays and objects may nest, in levels: `[[1]]` has two. Default: 64. A message
    /// that nests deeper cannot be decoded. For messages of the plain channel
    /// (`Builder::plain_channel`), the depth is always 64.
    ///
    /// Each level of a recursive type uses stack of a worker thread, which has 2 MiB in tokio
    /// by default. With 1,024 levels, a client could overflow the stack, which ends the process.
    ///
    /// # Examples
    /// ```
    /// use roomcast::{Hub, Json};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), roomcast::BuildError> {
    /// let hub = Hub::<Vec<u32>>::with_codec(Json::new().max_depth(2)).build()?;
    /// # assert_eq!(hub.count(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub const fn max_depth(mut self, levels: usize) -> Self {
        self.depth_max = levels;
        self
    }
}

impl Default for Json {
    fn default() -> Self {
        Self::new()
    }
}

/// These methods are for codecs of your own that use JSON for some of their messages.
impl Json {
    /// Encodes a message of any type, as [`Codec::encode`] does.
    ///
    /// # Errors
    /// If `message` has no representation in JSON.
    pub fn encode<T: Serialize + ?Sized>(
        &self,
        message: &T,
        out: &mut Vec<u8>,
    ) -> Result<FrameKind, EncodeError> {
        // simd-json would write an `f32` with the digits of an `f64`, and a `RawValue` as an object.
        serde_json::to_writer(out, message).map_err(EncodeError::new)?;
        Ok(FrameKind::Text)
    }

    /// Decodes a message of any type, as [`Codec::decode`] does, and overwrites the payload. The
    /// payload must be JSON, whatever the kind of its frame.
    ///
    /// # Errors
    /// If the payload is not JSON, nests too deep, or does not fit `T`.
    pub fn decode<T: DeserializeOwned>(
        &self,
        _: FrameKind,
        payload: &mut [u8],
    ) -> Result<T, DecodeError> {
        // The buffers, with the depth for which they were made.
        thread_local!(static BUFFERS: Cell<Option<(usize, Buffers)>> = const { Cell::new(None) });
        let kept = BUFFERS.take().filter(|(depth_max, _)| *depth_max == self.depth_max);
        let mut buffers = kept.map_or_else(
            || Buffers::with_max_depth(payload.len(), self.depth_max),
            |(_, buffers)| buffers,
        );
        let message = simd_json::serde::from_slice_with_buffers(payload, &mut buffers);
        if payload.len() <= PAYLOAD_BYTES_KEPT {
            BUFFERS.set(Some((self.depth_max, buffers)));
        }
        message.map_err(DecodeError::new)
    }
}

impl<Out: Serialize, In: DeserializeOwned + 'static> Codec<Out, In> for Json {
    fn encode(&self, message: &Out, out: &mut Vec<u8>) -> Result<FrameKind, EncodeError> {
        self.encode(message, out)
    }

    fn accepts(&self, kind: FrameKind) -> bool {
        kind == FrameKind::Text && TypeId::of::<In>() != TypeId::of::<Never>()
    }

    fn decode(&self, kind: FrameKind, payload: &mut [u8]) -> Result<In, DecodeError> {
        self.decode(kind, payload)
    }
}

/// A message that other programs can publish on the [plain channel](crate::Builder::plain_channel).
///
/// Every type that implements `serde::de::DeserializeOwned` implements it. [`RawMessage`] does, too: it
/// becomes a text message with the JSON as it was written.
#[diagnostic::on_unimplemented(
    message = "other programs cannot publish `{Self}` as JSON",
    label = "this hub sends `{Self}`, which does not implement `serde::Deserialize`"
)]
pub trait FromJson: Sized {
    /// Decodes a message, and may overwrite the text.
    #[doc(hidden)]
    fn from_json(text: &mut [u8]) -> Result<Self, DecodeError>;
}

impl<T: DeserializeOwned> FromJson for T {
    fn from_json(text: &mut [u8]) -> Result<Self, DecodeError> {
        Json::new().decode(FrameKind::Text, text)
    }
}

impl FromJson for RawMessage {
    fn from_json(text: &mut [u8]) -> Result<Self, DecodeError> {
        Raw.decode(FrameKind::Text, text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::value::RawValue;

    use super::*;

    fn decode<T: DeserializeOwned>(text: &str) -> Result<T, DecodeError> {
        decode_within(DEPTH_MAX, text)
    }

    fn decode_within<T: DeserializeOwned>(depth_max: usize, text: &str) -> Result<T, DecodeError> {
        let json = Json::new().max_depth(depth_max);
        json.decode(FrameKind::Text, &mut text.as_bytes().to_vec())
    }

    fn encode<T: Serialize>(message: &T) -> String {
        let mut out = Vec::new();
        Json::new().encode(message, &mut out).expect("the message has a form in JSON");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn an_encoded_message_decodes_to_itself() {
        let message = (1_u64, "é\n\"".to_owned(), vec![Some(2.5), None]);
        let mut out = Vec::new();
        let json: &dyn Codec<_, Never> = &Json::new();
        assert_eq!(json.encode(&message, &mut out).ok(), Some(FrameKind::Text));
        assert!(!json.accepts(FrameKind::Text));
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        assert_eq!(decode::<(u64, String, Vec<Option<f64>>)>(&text).ok(), Some(message));
    }

    #[test]
    fn messages_are_written_as_other_programs_write_them() {
        let raw = RawValue::from_string("{\"a\":1.50}".to_owned()).expect("it is JSON");
        assert_eq!(encode(&raw), "{\"a\":1.50}");
        assert_eq!(encode(&[0.1_f32, 1.5]), "[0.1,1.5]");
        let votes = BTreeMap::from([(true, 2)]);
        assert_eq!(encode(&votes), "{\"true\":2}");
    }

    #[test]
    fn depth_is_bounded_before_the_type_is_built() {
        type Nested = serde_json_like::Nested;
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(decode::<Nested>(&nested(DEPTH_MAX)).is_ok());
        assert!(decode::<Nested>(&nested(DEPTH_MAX + 1)).is_err());
        assert!(decode::<Nested>(&nested(30_000)).is_err());
        // All on one thread, which keeps the buffers of the depth before.
        for depth_max in [1, 3, 100, 2] {
            assert!(decode_within::<Nested>(depth_max, &nested(depth_max)).is_ok(), "{depth_max}");
            assert!(decode_within::<Nested>(depth_max, &nested(depth_max + 1)).is_err());
        }
    }

    #[test]
    fn invalid_json_is_an_error_and_the_buffers_stay_usable() {
        for text in ["", "{", "nul", "\"\\u12\"", "[1,]", "{\"a\":1}"] {
            assert!(decode::<Vec<u32>>(text).is_err(), "{text}");
            assert_eq!(decode::<Vec<u32>>("[1,2]").ok(), Some(vec![1, 2]));
        }
    }

    mod serde_json_like {
        use serde::{Deserialize, Serialize};

        #[derive(Serialize, Deserialize)]
        pub(super) struct Nested(Vec<Nested>);
    }
}
