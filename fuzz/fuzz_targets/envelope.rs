//! Whatever a stranger publishes on the channel: it is read or refused, and what was read means the
//! same when it is written again.
//!
//! ```text
//! cargo +nightly fuzz run envelope
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::internals::rewrite;

fuzz_target!(|payload: &[u8]| {
    // Few inputs would begin as an envelope does by chance.
    let whole = [b"RCE\x01", payload].concat();
    if let Some(rewritten) = rewrite(&whole) {
        assert_eq!(rewrite(&rewritten).as_ref(), Some(&rewritten));
    }
    rewrite(payload);
});
