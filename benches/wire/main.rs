//! The cost of encoding and decoding: frames, JSON, and the envelopes between nodes.
//!
//! ```text
//! cargo bench -p benches --bench wire
//! ```
//!
//! Each group also measures other crates that do the same work and, where there is one, a lower bound.

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
