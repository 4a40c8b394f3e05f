//! Clients that are far away: behind a round trip, a bandwidth, a packet loss, and an MTU of 1,500.
//!
//! A distant client is not a slow client. Loopback cannot show the difference: its socket buffers hold
//! megabytes, and each byte arrives at once. Here a TCP connection has as many bytes in flight as its
//! congestion window allows, and the rest waits for a round trip.
//!
//! The clients are tungstenite's. The whole grid is ignored by default; it prints the tables of the
//! documentation:
//!
//! ```text
//! cargo test -p system-tests --test faults far:: -- --ignored --nocapture --test-threads 1
//! ```

mod closing;
mod field;
mod grid;
mod member;
mod outage;
mod publisher;
mod slow;
mod stage;
