//! RFC 6455 in tables: the bytes of a client, and the full answer that the client must get. The tables hold the cases
//! that Autobahn (`tests/autobahn.sh`) leaves out.

mod closing;
mod fragments;
mod frames;
mod handshake;
mod lengths;
mod request;
mod row;
mod text;
