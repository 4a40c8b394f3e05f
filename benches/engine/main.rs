//! The cost of the core alone, with sockets that accept every write: the rest of the cost of a real
//! delivery is the kernel's.
//!
//! ```text
//! cargo bench -p benches --bench engine
//! ```
//!
//! Each group also measures the code that one would write without this crate, named after its parts.
//! Where threads share data in daily use, a case with two threads shows the cost of contention. Its
//! time is the time of one call by each thread, both at once; each thread needs a core.

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
