//! The ledger: which sequence numbers have arrived from each node on each channel.
//!
//! # Invariants
//! 1. A node numbers the messages that it publishes on a channel, from zero, without gaps. The
//!    messages of one node on one channel are a *sequence*.
//! 2. A receiver counts a sequence from the first number that it sees. From then on, each number is
//!    received or counted as lost, until the node is forgotten.
//! 3. A gap is lost: the ledger outlives connections, so messages that were published while there
//!    was no connection are counted, too. The exception: while a channel is not subscribed to, its
//!    gaps are not losses.
//! 4. A number below the expected one is a duplicate, even if it was counted as lost before, and
//!    even if the channel was not subscribed to meanwhile.
//! 5. If an identity is used twice, the later epoch counts: sequences begin anew, and envelopes of
//!    the earlier epoch are duplicates.

use std::collections::HashMap;

use crate::backplane::channels::Channel;
use crate::backplane::identity::NodeId;

/// The most nodes in the ledger. Each takes about 40 bytes for each channel that it has published
/// on.
const NODES_MAX: usize = 1_024;

/// The sequence numbers that have arrived.
#[derive(Debug, Default)]
pub(super) struct SequenceLedger {
    nodes: HashMap<NodeId, NodeSequences>,
    /// Counts the entries. `heard` uses it as a clock.
    clock: u64,
}

/// The sequences of one node.
#[derive(Debug)]
struct NodeSequences {
    epoch: u64,
    /// The `clock` at the last entry of the node.
    heard: u64,
    by_channel: HashMap<Channel, MessageSequence>,
}

/// How far one sequence has been counted.
#[derive(Debug, Clone, Copy)]
struct MessageSequence {
    /// The number that is expected next.
    next: u64,
    /// Set when the subscription ends. Cleared by the next entry, whose gap is not a loss
    /// (invariant 3).
    is_paused: bool,
    /// The number of the node's last roll call that arrived by the channel; zero before the first.
    roll_call: u64,
}

/// The result of entering an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LedgerEntry {
    /// The number of lost messages before the envelope.
    pub(super) lost: u64,
    /// The number of messages, from the first of the envelope on, that have arrived before.
    pub(super) duplicates: u64,
    /// The number of nodes that were forgotten to make space.
    pub(super) forgotten: u64,
}

impl SequenceLedger {
    /// Enters the messages `first` to `first + count - 1` of a sequence. For a heartbeat, `count`
    /// is zero and `first` is the number of the next message.
    pub(super) fn enter(
        &mut self,
        node: NodeId,
        channel: Channel,
        epoch: u64,
        first: u64,
        count: u64,
    ) -> LedgerEntry {
        let forgotten = self.make_space_for(node);
        self.clock += 1;
        let heard = self.clock;
        let fresh = || NodeSequences { epoch, heard, by_channel: HashMap::new() };
        let sequences = self.nodes.entry(node).or_insert_with(fresh);
        // Invariant 5.
        if epoch < sequences.epoch {
            return LedgerEntry { lost: 0, duplicates: count, forgotten };
        }
        if epoch > sequences.epoch {
            *sequences = fresh();
        }
        sequences.heard = heard;
        // Invariant 2: the first number of a sequence is where its count begins.
        let fresh = MessageSequence { next: first, is_paused: false, roll_call: 0 };
        let sequence = sequences.by_channel.entry(channel).or_insert(fresh);
        // Invariant 3.
        let gap = first.saturating_sub(sequence.next);
        let lost = if sequence.is_paused { 0 } else { gap };
        // Invariant 4.
        let duplicates = sequence.next.saturating_sub(first).min(count);
        sequence.next = sequence.next.max(first.saturating_add(count));
        sequence.is_paused = false;
        LedgerEntry { lost, duplicates, forgotten }
    }

    /// Notes a roll call that arrived by a channel. The node must have an entry on that channel.
    pub(super) fn record_roll_call(&mut self, node: NodeId, channel: Channel, number: u64) {
        let sequences = self.nodes.get_mut(&node);
        if let Some(sequence) =
            sequences.and_then(|sequences| sequences.by_channel.get_mut(&channel))
        {
            sequence.roll_call = number;
        }
    }

    /// Whether this roll call of a node has arrived by a channel.
    pub(super) fn has_roll_call(&self, node: NodeId, channel: Channel, number: u64) -> bool {
        let sequences = self.nodes.get(&node);
        let sequence = sequences.and_then(|sequences| sequences.by_channel.get(&channel));
        sequence.is_some_and(|sequence| sequence.roll_call == number)
    }

    /// Notes that a channel is not subscribed to any longer (invariant 3).
    pub(super) fn pause(&mut self, channel: Channel) {
        for sequences in self.nodes.values_mut() {
            if let Some(sequence) = sequences.by_channel.get_mut(&channel) {
                sequence.is_paused = true;
            }
        }
    }

    /// If the ledger is full and the node is new, forgets the node that was heard longest ago.
    /// Returns the number of forgotten nodes.
    fn make_space_for(&mut self, node: NodeId) -> u64 {
        if self.nodes.len() < NODES_MAX || self.nodes.contains_key(&node) {
            return 0;
        }
        let oldest = self.nodes.iter().min_by_key(|(_, sequences)| sequences.heard);
        let oldest = oldest.map(|(node, _)| *node);
        oldest.is_some_and(|oldest| self.nodes.remove(&oldest).is_some()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::from_bytes([1; 16]);
    const CHANNEL: Channel = Channel::COMMON;

    fn entry(lost: u64, duplicates: u64) -> LedgerEntry {
        LedgerEntry { lost, duplicates, forgotten: 0 }
    }

    #[test]
    fn the_first_number_heard_is_where_the_count_begins() {
        let mut ledger = SequenceLedger::default();
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 40, 2), entry(0, 0));
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 42, 3), entry(0, 0));
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 45, 0), entry(0, 0), "a heartbeat");
    }

    #[test]
    fn gaps_and_duplicates_are_counted_to_the_message() {
        let mut ledger = SequenceLedger::default();
        ledger.enter(NODE, CHANNEL, 1, 0, 10);
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 13, 2), entry(3, 0));
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 13, 2), entry(0, 2), "the whole envelope again");
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 14, 3), entry(0, 1), "a part of it again");
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 10, 3), entry(0, 3), "late: counted as lost");
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 20, 0), entry(3, 0), "a tail, by a heartbeat");
    }

    #[test]
    fn streams_are_kept_apart() {
        let mut ledger = SequenceLedger::default();
        ledger.enter(NODE, CHANNEL, 1, 0, 10);
        assert_eq!(ledger.enter(NodeId::from_bytes([2; 16]), CHANNEL, 1, 5, 1), entry(0, 0));
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 10, 1), entry(0, 0));
    }

    #[test]
    fn messages_while_a_channel_is_not_subscribed_are_not_lost_and_repetitions_are_still_found() {
        let mut ledger = SequenceLedger::default();
        ledger.enter(NODE, CHANNEL, 1, 0, 10);
        ledger.pause(CHANNEL);
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 8, 3), entry(0, 2), "sent again");
        ledger.pause(CHANNEL);
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 99, 1), entry(0, 0));
        assert_eq!(ledger.enter(NODE, CHANNEL, 1, 101, 1), entry(1, 0), "subscribed again");
    }

    #[test]
    fn a_later_epoch_begins_anew_and_an_earlier_one_is_dropped() {
        let mut ledger = SequenceLedger::default();
        ledger.enter(NODE, CHANNEL, 7, 100, 1);
        assert_eq!(ledger.enter(NODE, CHANNEL, 8, 0, 1), entry(0, 0));
        assert_eq!(ledger.enter(NODE, CHANNEL, 7, 101, 4), entry(0, 4));
        assert_eq!(ledger.enter(NODE, CHANNEL, 8, 1, 1), entry(0, 0));
    }

    #[test]
    fn a_full_ledger_forgets_the_node_heard_longest_ago_and_says_so() {
        let mut ledger = SequenceLedger::default();
        let node = |number: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            NodeId::from_bytes(bytes)
        };
        for number in 0..NODES_MAX {
            assert_eq!(ledger.enter(node(number), CHANNEL, 1, 0, 1).forgotten, 0);
        }
        ledger.enter(node(0), CHANNEL, 1, 1, 1);
        assert_eq!(ledger.enter(node(NODES_MAX), CHANNEL, 1, 0, 1).forgotten, 1);
        assert_eq!(ledger.enter(node(0), CHANNEL, 1, 5, 1), entry(3, 0), "heard just now: kept");
        let forgotten = ledger.enter(node(1), CHANNEL, 1, 5, 1);
        assert_eq!((forgotten.lost, forgotten.forgotten), (0, 1));
    }
}
