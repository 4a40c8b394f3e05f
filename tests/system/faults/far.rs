//! Clients that are far away: behind a round trip, a bandwidth, a loss, and an MTU of 1,500.
//!
//! A distant client is not a slow one. Loopback cannot tell them apart: its socket buffers hold
//! megabytes, and what is sent has arrived. Here a TCP connection has so much under way as its
//! congestion window allows, and the rest waits for a round trip.
//!
//! Clients are of tungstenite. The whole grid is ignored by default, and prints the tables of the
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
