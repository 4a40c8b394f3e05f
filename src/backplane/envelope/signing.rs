//! Signatures: with keys, a node accepts only envelopes that a node with the same key has sent.
//!
//! A signed envelope ends with a signature of 16 bytes:
//!
//! ```text
//! the first half of HMAC-SHA-256(key, length of the name (8) · name of the channel · envelope)
//! ```
//!
//! RFC 2104, section 5 asks for at least half of the output, and IPsec uses half of this function
//! (RFC 4868). A stranger who guesses has one chance in 2¹²⁸ for each envelope, and learns nothing
//! from a failure. The name of the channel is included, so that an envelope that was recorded on
//! one channel is invalid on another. The length comes first, so that no byte can move from the
//! name to the envelope.

use bytes::Bytes;

#[cfg(feature = "hmac")]
mod keys;
#[cfg(not(feature = "hmac"))]
mod keys {
    use bytes::Bytes;

    /// Without the feature, no keys exist.
    #[derive(Debug, Clone)]
    pub(crate) enum Keys {}

    impl Keys {
        pub(super) fn seal(&self, _: &str, _: Vec<u8>) -> Vec<u8> {
            match *self {}
        }

        pub(super) fn open(&self, _: &str, _: Bytes) -> Option<Bytes> {
            match *self {}
        }

        #[cfg(feature = "json")]
        pub(super) fn open_plain(&self, _: &str, _: Bytes) -> Option<Bytes> {
            match *self {}
        }
    }
}

#[cfg(all(test, feature = "hmac"))]
mod tests;

use self::keys::Keys;
use super::{Envelope, SIGNED, Unreadable, VERSION};

/// The keys of a hub. Without keys, envelopes are not signed, and a node accepts what anybody
/// publishes on its channels.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signing {
    keys: Option<Keys>,
}

impl Signing {
    /// Signs with the first key, and accepts signatures of all keys.
    ///
    /// # Panics
    /// If there is no key.
    #[cfg(feature = "hmac")]
    pub(crate) fn with(keys: &[impl AsRef<[u8]>]) -> Self {
        Self { keys: Some(Keys::new(keys)) }
    }

    /// Signs an envelope, and returns the payload for the channel.
    pub(crate) fn seal(&self, channel: &str, envelope: Vec<u8>) -> Bytes {
        match &self.keys {
            None => envelope.into(),
            Some(keys) => keys.seal(channel, envelope).into(),
        }
    }

    /// Removes the signature from a payload of a channel; `None` if it is not valid.
    pub(crate) fn open(&self, channel: &str, payload: Bytes) -> Option<Bytes> {
        match &self.keys {
            None => Some(payload),
            Some(keys) => keys.open(channel, payload),
        }
    }

    /// Removes the signature from a payload of another program; `None` if it is not valid.
    #[cfg(feature = "json")]
    pub(crate) fn open_plain(&self, channel: &str, payload: Bytes) -> Option<Bytes> {
        match &self.keys {
            None => Some(payload),
            Some(keys) => keys.open_plain(channel, payload),
        }
    }

    /// Parses a payload that was opened.
    pub(crate) fn parse<'a>(&self, opened: &'a [u8]) -> Result<Envelope<'a>, Unreadable> {
        match &self.keys {
            None => Envelope::parse(opened),
            Some(_) => Envelope::parse_version(VERSION | SIGNED, opened),
        }
    }
}
