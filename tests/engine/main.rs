//! The core without a network: fake sockets, a fake clock, and oracles.

mod acting;
mod arrival;
mod batch;
mod budgets;
mod closing;
mod coding;
mod compression;
mod dice;
mod fake;
mod follow;
mod inbox;
mod keep_alive;
mod model;
mod operation;
mod order;
mod overflow;
mod rooms;
mod runs;
mod send_queue;
mod shedding;
mod sweep;
mod wakes;
mod writes;
