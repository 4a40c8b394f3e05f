//! RFC 6455 in tables: what a client sends, and all that it must get. They hold what Autobahn's cases
//! (`tests/autobahn.sh`) leave out.

#[path = "conformance/closing.rs"]
mod closing;
#[path = "conformance/fragments.rs"]
mod fragments;
#[path = "conformance/frames.rs"]
mod frames;
#[path = "conformance/handshake.rs"]
mod handshake;
#[path = "conformance/lengths.rs"]
mod lengths;
#[path = "conformance/request.rs"]
mod request;
#[path = "conformance/row.rs"]
mod row;
#[path = "hub/support.rs"]
#[expect(dead_code, reason = "the tests of the hub use more of it")]
mod support;
#[path = "conformance/text.rs"]
mod text;
