//! How far each node has counted on each channel: what is missing, and what came twice.
//!
//! A node numbers the messages that it publishes on a channel, from zero. What a receiver hears first
//! of a stream is where its own count begins; from then on each number is either received or lost.
//! A ledger outlives connections: what was published while there was none is a gap.

use std::collections::HashMap;

use super::NodeId;
use super::channels::Channel;

/// The streams that are kept, at about 64 bytes each: 64 channels of 1,000 nodes.
const STREAMS_MAX: usize = 65_536;

/// What a receiver knows of the streams that it listens to.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    streams: HashMap<(NodeId, Channel), Stream>,
    /// Counts the entries, as a clock for `heard`.
    clock: u64,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    epoch: u64,
    /// The number that comes next.
    next: u64,
    heard: u64,
}

/// What the numbers of an envelope tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    /// How many messages before it never came.
    pub(crate) lost: u64,
    /// How many of its messages, from the first on, had come before.
    pub(crate) duplicates: u64,
}

impl Ledger {
    /// Enters the messages `first` to `first + count` of a stream; a heartbeat has none.
    pub(crate) fn enter(
        &mut self,
        node: NodeId,
        channel: Channel,
        epoch: u64,
        first: u64,
        count: u64,
    ) -> Entry {
        self.clock += 1;
        if self.streams.len() >= STREAMS_MAX && !self.streams.contains_key(&(node, channel)) {
            self.forget_the_oldest();
        }
        let heard = self.clock;
        let fresh = Stream { epoch, next: first, heard };
        let stream = self.streams.entry((node, channel)).or_insert(fresh);
        if epoch < stream.epoch {
            return Entry { lost: 0, duplicates: count };
        }
        if epoch > stream.epoch {
            *stream = fresh;
        }
        let end = first + count;
        let entry = Entry {
            lost: first.saturating_sub(stream.next),
            duplicates: stream.next.saturating_sub(first).min(count),
        };
        stream.next = stream.next.max(end);
        stream.heard = heard;
        entry
    }

    /// Forgets a channel that is not listened to any more: what is published there is not lost.
    pub(crate) fn forget_channel(&mut self, channel: Channel) {
        self.streams.retain(|(_, of), _| *of != channel);
    }

    /// Half of them at once, so that the search is paid for by many.
    fn forget_the_oldest(&mut self) {
        let mut heard: Vec<u64> = self.streams.values().map(|stream| stream.heard).collect();
        let half = heard.len() / 2;
        let (_, median, _) = heard.select_nth_unstable(half);
        let median = *median;
        self.streams.retain(|_, stream| stream.heard >= median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::from_bytes([1; 16]);
    const CHANNEL: Channel = Channel::COMMON;

    fn entry(lost: u64, duplicates: u64) -> Entry {
        Entry { lost, duplicates }
    }

    #[test]
    fn the_first_number_heard_is_where_the_count_begins() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 40, 2), entry(0, 0));
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 42, 3), entry(0, 0));
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 45, 0), entry(0, 0), "a heartbeat");
    }

    #[test]
    fn gaps_and_duplicates_are_counted_to_the_message() {
        let mut ledger = Ledger::default();
        ledger.enter(NODE, CHANNEL, 1, 0, 10);
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 13, 2), entry(3, 0));
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 13, 2), entry(0, 2), "all of it again");
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 14, 3), entry(0, 1), "some of it again");
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 10, 3), entry(0, 3), "late: counted as lost");
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 20, 0), entry(3, 0), "a tail, by a heartbeat");
    }

    #[test]
    fn streams_are_kept_apart() {
        let mut ledger = Ledger::default();
        ledger.enter(NODE, CHANNEL, 1, 0, 10);
        assert_eq!(ledger.enter(NodeId::from_bytes([2; 16]), CHANNEL, 1, 5, 1), entry(0, 0));
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 10, 1), entry(0, 0));
        ledger.forget_channel(CHANNEL);
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 99, 1), entry(0, 0));
    }

    #[test]
    fn a_later_epoch_begins_anew_and_an_earlier_one_is_dropped() {
        let mut ledger = Ledger::default();
        ledger.enter(NODE, CHANNEL, 7, 100, 1);
        assert_eq!(ledger.enter(NODE, CHANNEL, 8, 0, 1), entry(0, 0));
        assert_eq!(ledger.enter(NODE, CHANNEL, 7, 101, 4), entry(0, 4));
        assert_eq!(ledger.enter(NODE, CHANNEL, 8, 1, 1), entry(0, 0));
    }

    #[test]
    fn a_full_ledger_forgets_those_heard_longest_ago() {
        let mut ledger = Ledger::default();
        let node = |number: u32| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            NodeId::from_bytes(bytes)
        };
        for number in 0..STREAMS_MAX as u32 {
            ledger.enter(node(number), CHANNEL, 1, 0, 1);
        }
        ledger.enter(node(0), CHANNEL, 1, 1, 1);
        ledger.enter(NodeId::from_bytes([9; 16]), CHANNEL, 1, 0, 1);
        assert!(ledger.streams.len() <= STREAMS_MAX / 2 + 1);
        assert_eq!(ledger.enter(node(0), CHANNEL, 1, 5, 1), entry(3, 0), "heard just now: kept");
        assert_eq!(ledger.enter(node(1), CHANNEL, 1, 5, 1), entry(0, 0), "forgotten");
    }
}
