//! Keys, and what is signed with them.

#[cfg(feature = "json")]
mod plain;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::backplane::envelope::{SIGNED, VERSION_AT};

const SIGNATURE_BYTES: usize = 16;

/// The keys of a node, each as the state that it puts the hash in.
#[derive(Clone)]
pub(crate) struct Keys {
    /// The first one signs, each is accepted.
    states: Arc<[Hmac<Sha256>]>,
}

impl Keys {
    pub(super) fn new(keys: &[impl AsRef<[u8]>]) -> Self {
        assert!(!keys.is_empty(), "nothing can be signed without a key");
        let state = |key: &[u8]| Hmac::new_from_slice(key).expect("any length will do");
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
        // What does not even say that it is signed is not worth the hash.
        if envelope.get(VERSION_AT)? & SIGNED == 0 {
            return None;
        }
        // In constant time: how long it takes does not tell how much of a guess was right.
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

/// How many there are, and nothing of them.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("count", &self.states.len()).finish_non_exhaustive()
    }
}
