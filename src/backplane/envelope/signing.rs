//! Whose envelopes are believed.
//!
//! Where the nodes share a key, an envelope ends with a signature of 16 bytes:
//!
//! ```text
//! HMAC-SHA-256(key, length of the name (8) · name of the channel · envelope) to its first half
//! ```
//!
//! Half is what RFC 2104, section 5 asks for at least, and what IPsec uses of this function (RFC 4868):
//! a stranger who guesses has one chance in 2¹²⁸ for each envelope, and learns nothing from a failure.
//! The name is a part of it, so that what was recorded on one channel is worth nothing on another; its
//! length comes first, so that no byte can pass from it to the envelope.

use bytes::Bytes;

#[cfg(feature = "hmac")]
mod keys;
#[cfg(not(feature = "hmac"))]
mod keys {
    use bytes::Bytes;

    /// There are none without the feature.
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

/// How envelopes are signed. Without keys they are not, and whoever publishes on a channel is
/// believed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signing {
    keys: Option<Keys>,
}

impl Signing {
    /// Signs with the first key, and accepts what is signed with any of them.
    ///
    /// # Panics
    /// Without a key.
    #[cfg(feature = "hmac")]
    pub(crate) fn with(keys: &[impl AsRef<[u8]>]) -> Self {
        Self { keys: Some(Keys::new(keys)) }
    }

    /// The payload for a channel that an envelope becomes.
    pub(crate) fn seal(&self, channel: &str, envelope: Vec<u8>) -> Bytes {
        match &self.keys {
            None => envelope.into(),
            Some(keys) => keys.seal(channel, envelope).into(),
        }
    }

    /// Takes the signature off a payload of a channel; `None` where it is not right.
    pub(crate) fn open(&self, channel: &str, payload: Bytes) -> Option<Bytes> {
        match &self.keys {
            None => Some(payload),
            Some(keys) => keys.open(channel, payload),
        }
    }

    /// Takes the signature off a payload of another program; `None` where it is not right.
    #[cfg(feature = "json")]
    pub(crate) fn open_plain(&self, channel: &str, payload: Bytes) -> Option<Bytes> {
        match &self.keys {
            None => Some(payload),
            Some(keys) => keys.open_plain(channel, payload),
        }
    }

    /// Reads what was opened.
    pub(crate) fn parse<'a>(&self, opened: &'a [u8]) -> Result<Envelope<'a>, Unreadable> {
        match &self.keys {
            None => Envelope::parse(opened),
            Some(_) => Envelope::parse_version(VERSION | SIGNED, opened),
        }
    }
}
