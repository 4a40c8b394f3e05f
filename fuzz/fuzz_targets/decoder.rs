//! Whatever a client sends, and however the network cuts it: the same events come out.
//!
//! ```text
//! cargo +nightly fuzz run decoder
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::internals::decode;

/// Small, so that short inputs reach it.
const MESSAGE_BYTES_MAX: usize = 300;

fuzz_target!(|input: (u8, &[u8])| {
    let (step, bytes) = input;
    let whole = decode(bytes, bytes.len(), MESSAGE_BYTES_MAX);
    let cut = decode(bytes, usize::from(step), MESSAGE_BYTES_MAX);
    assert_eq!(whole, cut);
});
