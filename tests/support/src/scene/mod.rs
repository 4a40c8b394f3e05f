//! Scenes of many clients and a load server in a process of its own. The tests of faults, load and endurance share
//! them.

pub mod crowd;
pub mod oracle;
pub mod server;
pub mod wire;
