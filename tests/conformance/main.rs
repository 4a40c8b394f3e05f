//! RFC 6455 in tables: what a client sends, and all that it must get. They hold what Autobahn's cases
//! (`tests/autobahn.sh`) leave out.

mod closing;
mod fragments;
mod frames;
mod handshake;
mod lengths;
mod request;
mod row;
mod text;
