//! What bytes cost on their way in and out: frames, JSON, and the envelopes between nodes.
//!
//! ```text
//! cargo bench --bench wire
//! ```
//!
//! Each group has what others do for the same end beside it, and where there is one, the least that
//! it could cost.

use criterion::{criterion_group, criterion_main};

#[path = "wire/client.rs"]
mod client;
#[path = "wire/decode.rs"]
mod decode;
#[path = "wire/encode.rs"]
mod encode;
#[path = "wire/envelope.rs"]
mod envelope;
#[path = "wire/feed.rs"]
mod feed;
#[path = "wire/json.rs"]
mod json;
#[path = "engine/settings.rs"]
mod settings;

criterion_group! {
    name = benches;
    config = settings::settings();
    targets =
        encode::frames,
        decode::frames,
        json::encoding,
        json::decoding,
        envelope::packing,
        envelope::reading,
        envelope::signing,
}
criterion_main!(benches);
