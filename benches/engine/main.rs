//! What the core costs by itself, with sockets that take everything: whatever a delivery costs
//! beyond this is the kernel's.
//!
//! ```text
//! cargo bench -p benches --bench engine
//! ```
//!
//! Each group has what one would write without this crate beside it, named after what it is made of.
//! Where threads meet in daily use, a case with two of them shows what they cost each other: a time
//! is then that of one call by each thread at once, for which it needs a core.

use criterion::{criterion_group, criterion_main};

mod fan_out;
mod hub;
mod inbox;
mod membership;
mod plain;
mod publish;
mod rooms;
mod send_queue;
mod storm;
mod timing;

criterion_group! {
    name = benches;
    config = shared::settings::settings();
    targets =
        publish::calls,
        publish::to_one,
        fan_out::turns,
        membership::huge_room,
        membership::small_rooms,
        membership::calls,
        rooms::finding,
        rooms::using,
        storm::storms,
        send_queue::bursts,
        send_queue::overflow,
        inbox::pushing,
        inbox::asking,
}
criterion_main!(benches);
