//! Keys, and the signatures that are made with them.

#[cfg(feature = "json")]
mod plain;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::backplane::envelope::{SIGNED, VERSION_AT};

const SIGNATURE_BYTES: usize = 16;

/// The keys of a node. Each is stored as the state of the hash after the key was put in.
#[derive(Clone)]
pub(crate) struct Keys {
    /// The first key signs, all keys are accepted.
    states: Arc<[Hmac<Sha256>]>,
}

impl Keys {
    pub(super) fn new(keys: &[impl AsRef<[u8]>]) -> Self {
        assert!(!keys.is_empty(), "signing needs a key");
        let state = |key: &[u8]| Hmac::new_from_slice(key).expect("HMAC takes a key of any length");
        Self { states: keys.iter().map(|key| state(key.as_ref())).collect() }
    }

    pub(super) fn seal(&self, channel: &str, mut envelope: Vec<u8>) -> Vec<u8> {
        envelope[VERSION_AT] |= SIGNED;
        let signature = signing(&self.states[0], channel, &envelope).finalize().into_bytes();
        envelope.extend_from_slice(&signature[..SIGNATURE_BYTES]);
        envelope
    }

    pub(super) fn open(&self, channel: &str, mut payload: Bytes) -> Option<Bytes> {
        let (envelope, signature) = payload.split_last_chunk::<SIGNATURE_BYTES>()?;
        // A payload that is not marked as signed does not cost a hash.
        if envelope.get(VERSION_AT)? & SIGNED == 0 {
            return None;
        }
        // In constant time, so that the time does not reveal how much of a guess was right.
        let is_right = |state| signing(state, channel, envelope).verify_truncated_left(signature);
        let is_accepted = self.states.iter().any(|state| is_right(state).is_ok());
        payload.truncate(payload.len() - SIGNATURE_BYTES);
        is_accepted.then_some(payload)
    }
}

fn signing(state: &Hmac<Sha256>, channel: &str, envelope: &[u8]) -> Hmac<Sha256> {
    let mut signing = state.clone();
    signing.update(&(channel.len() as u64).to_le_bytes());
    signing.update(channel.as_bytes());
    signing.update(envelope);
    signing
}

/// Shows the number of keys, and nothing of the keys themselves.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("count", &self.states.len()).finish_non_exhaustive()
    }
}
