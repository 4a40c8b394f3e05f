//! The progress of the messages of a room, as far as the members of one thread have received them.

use std::collections::VecDeque;

/// A room: its reading members in a thread, and the progress of its messages.
#[derive(Default)]
pub(crate) struct Room {
    pub(crate) conns: Vec<usize>,
    next_sender: usize,
    /// When the messages were sent that have not reached all members, in microseconds. Complete if one thread has
    /// all members.
    sent_at: VecDeque<u64>,
    /// The number of messages that have reached all members.
    done: u64,
    /// `ahead[n]` is the number of members that have received `done + n` messages.
    ahead: VecDeque<usize>,
}

impl Room {
    /// Forgets all messages.
    pub(crate) fn reset(&mut self) {
        (self.done, self.ahead) = (0, [self.conns.len()].into());
        self.sent_at.clear();
    }

    /// Records that a message is sent, and returns the connection of the member whose turn it is.
    pub(crate) fn send(&mut self, now: u64) -> usize {
        self.sent_at.push_back(now);
        self.next_sender = (self.next_sender + 1) % self.conns.len();
        self.conns[self.next_sender]
    }

    /// When the message of this number was sent, if the server kept the order of the senders. Servers do so to
    /// within a turn of their loop. `None` if the number is unknown.
    pub(crate) fn sent_at(&self, number: u64) -> Option<u64> {
        self.sent_at.get(number.checked_sub(self.done + 1)? as usize).copied()
    }

    /// The number of messages that have reached all members.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// Records that a member has received its message of this number, counted from 1. Returns `true` if
    /// this member was the last to receive the message.
    pub(crate) fn receive(&mut self, number: u64) -> bool {
        let ahead = (number - self.done) as usize;
        if self.ahead.len() <= ahead {
            self.ahead.resize(ahead + 1, 0);
        }
        self.ahead[ahead - 1] -= 1;
        self.ahead[ahead] += 1;
        let is_last = self.ahead[0] == 0;
        if is_last {
            self.ahead.pop_front();
            self.sent_at.pop_front();
            self.done += 1;
        }
        is_last
    }
}
