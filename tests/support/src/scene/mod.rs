//! Scenes of many clients and a load server in its own process. The tests of faults, load and endurance share
//! the scenes.

pub mod crowd;
pub mod oracle;
pub mod server;
pub mod wire;
