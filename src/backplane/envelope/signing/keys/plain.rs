//! Signatures of other programs, which sign text.
//!
//! ```text
//! hex(HMAC-SHA-256(key, "plain" · 0 · name of the channel · 0 · body)) · " " · body
//! ```
//!
//! The keys also sign envelopes, so no input of one kind may be an input of the other. The input
//! for an envelope begins with the length of the channel's name in eight bytes, little-endian. Read
//! in that way, the six bytes `"plain" · 0` and any two bytes are a length of more than 400 GB (the
//! fifth byte is `n`, 0x6E), and no name is that long. The builder refuses a name with a zero byte,
//! so the second zero ends the name.

use bytes::{Buf, Bytes};
use hmac::Mac;

use super::Keys;

const SIGNATURE_BYTES: usize = 32;
const DIGITS: usize = 2 * SIGNATURE_BYTES;

impl Keys {
    /// Removes the signature from a payload; `None` if it is not valid.
    pub(in super::super) fn open_plain(&self, channel: &str, mut payload: Bytes) -> Option<Bytes> {
        let (digits, rest) = payload.split_first_chunk::<DIGITS>()?;
        let signature = bytes_of(digits)?;
        let body = rest.strip_prefix(b" ")?;
        let is_right = |state: &hmac::Hmac<sha2::Sha256>| {
            let parts = [&b"plain\0"[..], channel.as_bytes(), b"\0", body];
            let signing = parts.iter().fold(state.clone(), |mut signing, part| {
                signing.update(part);
                signing
            });
            // In constant time, so that the time does not reveal how much of a guess was right.
            signing.verify_slice(&signature).is_ok()
        };
        let is_accepted = self.states.iter().any(is_right);
        payload.advance(DIGITS + 1);
        is_accepted.then_some(payload)
    }
}

/// Decodes hexadecimal digits. Only lower case is accepted, so that each signature has one form.
fn bytes_of(digits: &[u8; DIGITS]) -> Option<[u8; SIGNATURE_BYTES]> {
    let mut bytes = [0; SIGNATURE_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value_of(pair[0])? << 4 | value_of(pair[1])?;
    }
    Some(bytes)
}

fn value_of(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
