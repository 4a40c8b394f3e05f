//! What bytes cost on their way in and out: frames, JSON, and the envelopes between nodes.
//!
//! ```text
//! cargo bench -p benches --bench wire
//! ```
//!
//! Each group has what others do for the same end beside it, and where there is one, the least that
//! it could cost.

use criterion::{criterion_group, criterion_main};

mod client;
mod decode;
mod encode;
mod envelope;
mod feed;
mod json;

criterion_group! {
    name = benches;
    config = shared::settings::settings();
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
