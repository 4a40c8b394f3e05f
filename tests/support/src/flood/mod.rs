//! A flood of one room, and its effect on another room. The fault tests and the benchmark `sockets` share this module.
//!
//! ```text
//!  server process                                  measuring process
//!  ──────────────                                  ─────────────────
//!  tasks ──► room "flood"  ──────────────────────► members that read and throw away
//!            room "quiet"  ◄─────────────────────► a member that times its own echoes
//!            /flood?4      ◄── begin, or end ───── the clock
//!            /counts       ◄── is anybody lost? ── the clock
//! ```

pub mod clients;
mod members;
pub mod pages;
mod quiet;
pub mod server;

use serde::{Deserialize, Serialize};

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The flooded room.
pub const FLOOD: &str = "flood";

/// The quiet room.
pub const QUIET: &str = "quiet";

/// Bytes of a message of the flood, as JSON.
pub const MESSAGE_BYTES: usize = 128;

/// The messages of both rooms.
#[derive(Debug, Serialize, Deserialize)]
pub struct Message {
    /// The time of the send, in microseconds since the sender's start.
    pub at: u64,
    pub pad: String,
}

impl Message {
    /// A message with the size of a flood message.
    pub fn padded() -> Self {
        let bytes = serde_json::to_string(&Self::stamped(0)).map_or(0, |json| json.len());
        Self { at: 0, pad: "x".repeat(MESSAGE_BYTES - bytes) }
    }

    /// A short message with its time.
    pub fn stamped(at: u64) -> Self {
        Self { at, pad: String::new() }
    }
}
