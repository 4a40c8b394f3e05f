//! Roll calls: which nodes are subscribed again after a break of the backplane.
//!
//! A server that comes back has forgotten all subscriptions. So after a break, a node calls the
//! roll, and holds its messages back until the other nodes have answered.
//!
//! # Invariants
//! 1. Every node that this node knew before the break is *expected* to answer. All expected nodes
//!    are *absent* when a call begins. A node is absent until it answers that call, says goodbye,
//!    or is dismissed with all others when their time is up.
//! 2. Calls are numbered. A repetition of a call has the same number. Only an answer to the last
//!    number counts, because an answer to an earlier call proves nothing about the channels of the
//!    last one.
//! 3. A call goes out on each room channel whose messages wait, and then on the common channel. A
//!    node owes the answer once it has received the call on each of these channels that it follows
//!    (is subscribed to, or wants to be): this proves that its subscriptions are back.
//! 4. For each node that calls, only the last call is owed. An answer that may not have arrived is
//!    owed again, unless the node has called again meanwhile.

use std::collections::{BTreeMap, HashSet};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::backplane::envelope::RollCallAnswer;
use crate::backplane::identity::NodeId;

/// The most nodes that are expected, and the most nodes that this node owes an answer.
const NODES_MAX: usize = 1_024;

/// The nodes that are expected here, and the answers that this node owes.
///
/// The publishing task adds expected nodes and begins calls. The receiving task records answers and
/// calls. Neither holds the lock across an `await`.
#[derive(Debug, Default)]
pub(crate) struct Attendance(Mutex<AttendanceState>);

/// The lists that change together.
#[derive(Debug, Default)]
struct AttendanceState {
    /// The number of the last call of this node.
    call: u64,
    /// The nodes that were known before the break (invariant 1).
    expected: HashSet<NodeId>,
    /// The expected nodes that have not answered the last call.
    absent: HashSet<NodeId>,
    /// The answers that this node owes: by calling node, the number of its last call (invariant 4).
    owed: BTreeMap<NodeId, u64>,
}

impl Attendance {
    fn lock(&self) -> MutexGuard<'_, AttendanceState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds nodes to those that are expected to come back.
    pub(crate) fn expect(&self, nodes: impl Iterator<Item = NodeId>) {
        let mut state = self.lock();
        let space = NODES_MAX.saturating_sub(state.expected.len());
        state.expected.extend(nodes.take(space));
    }

    /// Begins a call that no expected node has answered, and returns its number; `None` if no node
    /// is expected.
    pub(crate) fn call(&self) -> Option<u64> {
        let mut state = self.lock();
        state.absent = state.expected.clone();
        state.call += 1;
        (!state.absent.is_empty()).then_some(state.call)
    }

    /// Notes that a node has answered a call. Returns `true` if the node was absent until now.
    pub(crate) fn answered(&self, node: NodeId, call: u64) -> bool {
        let mut state = self.lock();
        // Invariant 2.
        state.call == call && state.absent.remove(&node)
    }

    /// Stops expecting a node that has said goodbye. Returns `true` if it was expected.
    pub(crate) fn forget(&self, node: NodeId) -> bool {
        let mut state = self.lock();
        state.absent.remove(&node);
        state.expected.remove(&node)
    }

    /// The nodes that have not answered the last call.
    pub(crate) fn absent(&self) -> Vec<NodeId> {
        self.lock().absent.iter().copied().collect()
    }

    /// Stops expecting all nodes.
    pub(crate) fn dismiss(&self) {
        let mut state = self.lock();
        state.expected.clear();
        state.absent.clear();
    }

    /// Notes that this node owes an answer.
    pub(crate) fn owe(&self, answer: RollCallAnswer) {
        let RollCallAnswer { caller, number } = answer;
        let mut state = self.lock();
        if state.owed.len() < NODES_MAX || state.owed.contains_key(&caller) {
            state.owed.insert(caller, number);
        }
    }

    /// Notes again an answer that may not have arrived, unless the node has called again (invariant
    /// 4).
    pub(crate) fn owe_again(&self, answer: RollCallAnswer) {
        let mut state = self.lock();
        if state.owed.len() < NODES_MAX {
            state.owed.entry(answer.caller).or_insert(answer.number);
        }
    }

    /// Takes the owed answers.
    pub(crate) fn take_owed(&self) -> Box<[RollCallAnswer]> {
        let owed = mem::take(&mut self.lock().owed).into_iter();
        owed.map(|(caller, number)| RollCallAnswer { caller, number }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId::from_bytes([number; 16])
    }

    fn answer((caller, number): (u8, u64)) -> RollCallAnswer {
        RollCallAnswer { caller: node(caller), number }
    }

    #[test]
    fn every_expected_node_has_to_answer_the_last_call() {
        let attendance = Attendance::default();
        assert_eq!(attendance.call(), None, "nobody is expected");
        attendance.expect([1, 2].map(node).into_iter());
        let first = attendance.call().unwrap();
        assert!(attendance.answered(node(1), first));
        assert!(!attendance.answered(node(1), first), "it has answered before");
        assert_eq!(attendance.absent(), [node(2)]);
        let second = attendance.call().unwrap();
        assert!(!attendance.answered(node(2), first), "the first call is over");
        assert!(!attendance.answered(node(3), second), "it was not expected");
        assert!(attendance.answered(node(2), second));
        assert_eq!(attendance.absent(), [node(1)]);
        assert!(attendance.forget(node(1)));
        assert!(attendance.absent().is_empty());
    }

    #[test]
    fn nodes_that_are_dismissed_are_not_expected_at_the_next_break() {
        let attendance = Attendance::default();
        attendance.expect([1, 2].map(node).into_iter());
        attendance.dismiss();
        attendance.expect([3].map(node).into_iter());
        attendance.call();
        assert_eq!(attendance.absent(), [node(3)]);
    }

    #[test]
    fn the_last_call_of_each_node_is_owed_once() {
        let attendance = Attendance::default();
        for owed in [(1, 1), (2, 1), (1, 2)] {
            attendance.owe(answer(owed));
        }
        assert_eq!(*attendance.take_owed(), [(1, 2), (2, 1)].map(answer));
        assert!(attendance.take_owed().is_empty());
        attendance.owe(answer((1, 3)));
        attendance.owe_again(answer((1, 2)));
        attendance.owe_again(answer((2, 1)));
        assert_eq!(*attendance.take_owed(), [(1, 3), (2, 1)].map(answer));
    }
}
