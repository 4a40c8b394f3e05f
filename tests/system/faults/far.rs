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
//! cargo test --test faults far:: -- --ignored --nocapture --test-threads 1
//! ```

#[path = "far/closing.rs"]
mod closing;
#[path = "far/field.rs"]
mod field;
#[path = "far/grid.rs"]
mod grid;
#[path = "far/member.rs"]
mod member;
#[path = "far/outage.rs"]
mod outage;
#[path = "far/publisher.rs"]
mod publisher;
#[path = "far/slow.rs"]
mod slow;
#[path = "far/stage.rs"]
mod stage;
