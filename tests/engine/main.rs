//! The core without a network: fake sockets, a fake clock, and oracles.

#[path = "engine/acting.rs"]
mod acting;
#[path = "engine/arrival.rs"]
mod arrival;
#[path = "engine/budgets.rs"]
mod budgets;
#[path = "engine/closing.rs"]
mod closing;
#[path = "engine/dice.rs"]
mod dice;
#[path = "engine/fake.rs"]
mod fake;
#[path = "engine/follow.rs"]
mod follow;
#[path = "engine/inbox.rs"]
mod inbox;
#[path = "engine/keep_alive.rs"]
mod keep_alive;
#[path = "engine/model.rs"]
mod model;
#[path = "engine/operation.rs"]
mod operation;
#[path = "engine/order.rs"]
mod order;
#[path = "engine/overflow.rs"]
mod overflow;
#[path = "engine/rooms.rs"]
mod rooms;
#[path = "engine/runs.rs"]
mod runs;
#[path = "engine/send_queue.rs"]
mod send_queue;
#[path = "engine/shedding.rs"]
mod shedding;
#[path = "engine/sweep.rs"]
mod sweep;
#[path = "engine/wakes.rs"]
mod wakes;
#[path = "engine/writes.rs"]
mod writes;
