//! The guarantees for each client: no message twice, no message out of its publisher's order, and no message of a
//! room that the client is not in.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// A message of a publisher to a room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// The purpose of the message, and padding.
    pub text: String,
    /// The room and the publisher, as `room/publisher`.
    pub user: String,
    pub seq: u64,
    /// The time of the send, in microseconds since the publisher's start.
    pub ts: f64,
}

/// Records the lines that one client gets, over all its connections.
#[derive(Debug)]
pub struct Ledger {
    room: String,
    /// The last number of each publisher, and whether the next must follow at once.
    last: HashMap<String, (u64, bool)>,
    lines: u64,
}

impl Ledger {
    pub fn new(room: &str) -> Self {
        Self { room: room.to_owned(), last: HashMap::new(), lines: 0 }
    }

    /// The number of lines that the client has got.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The client has entered another room, or the same room again. The client may have missed lines in between.
    pub fn move_to(&mut self, room: &str) {
        room.clone_into(&mut self.room);
        self.last.values_mut().for_each(|(_, follows)| *follows = false);
    }

    /// Checks a line that the client has got.
    pub fn note(&mut self, line: &Line) {
        let (room, publisher) = line.user.split_once('/').expect("a room and a publisher");
        assert_eq!(room, self.room, "a message of a room that it is not in: {line:?}");
        let seq = line.seq;
        if let Some((last, follows)) = self.last.insert(line.user.clone(), (seq, true)) {
            assert!(seq > last, "{publisher}'s {seq} after its {last}: twice, or out of order");
            assert!(
                !follows || seq == last + 1,
                "{publisher}'s {seq} after its {last}: one missing"
            );
        }
        self.lines += 1;
    }
}
