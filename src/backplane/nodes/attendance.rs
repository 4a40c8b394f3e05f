//! Which nodes are back after a break of the backplane.
//!
//! A server that comes back has forgotten who was subscribed. So after a break a node calls the roll, on
//! each channel that has messages waiting, and keeps these messages until all nodes that it knew before
//! the break have answered, or until they have had enough time. A node answers a call when it has heard it
//! on every one of those channels that it needs: that is the proof that its subscriptions are back.

use std::collections::{BTreeMap, HashSet};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::backplane::envelope::RollCallAnswer;
use crate::backplane::identity::NodeId;

/// The most nodes that are expected, and the most whose calls may be unanswered.
const NODES_MAX: usize = 1_024;

/// Who is expected here, and whom this node has to answer.
///
/// The publishing task expects and calls, the receiving task notes what it hears. Neither task holds the lock
/// across an await.
#[derive(Debug, Default)]
pub(crate) struct Attendance(Mutex<AttendanceState>);

#[derive(Debug, Default)]
struct AttendanceState {
    /// The number of the last call.
    call: u64,
    /// The nodes that were there before the break.
    expected: HashSet<NodeId>,
    /// Those of them that have not answered the last call.
    absent: HashSet<NodeId>,
    /// The calls of other nodes that this node has heard and not answered: the last of each.
    owed: BTreeMap<NodeId, u64>,
}

impl Attendance {
    fn lock(&self) -> MutexGuard<'_, AttendanceState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Expects nodes to come back, besides those that are expected already.
    pub(crate) fn expect(&self, nodes: impl Iterator<Item = NodeId>) {
        let mut state = self.lock();
        let space = NODES_MAX.saturating_sub(state.expected.len());
        state.expected.extend(nodes.take(space));
    }

    /// Begins a call, which none of the expected nodes has answered; `None` where none is expected.
    pub(crate) fn call(&self) -> Option<u64> {
        let mut state = self.lock();
        state.absent = state.expected.clone();
        state.call += 1;
        (!state.absent.is_empty()).then_some(state.call)
    }

    /// Notes that a node has answered a call; `true` if the node was still missing in the last call.
    pub(crate) fn answered(&self, node: NodeId, call: u64) -> bool {
        let mut state = self.lock();
        state.call == call && state.absent.remove(&node)
    }

    /// A node has said goodbye: it is not expected any more. `true` if it was.
    pub(crate) fn forget(&self, node: NodeId) -> bool {
        let mut state = self.lock();
        state.absent.remove(&node);
        state.expected.remove(&node)
    }

    /// The nodes that have not answered the last call.
    pub(crate) fn absent(&self) -> Vec<NodeId> {
        self.lock().absent.iter().copied().collect()
    }

    /// Expects nobody any more.
    pub(crate) fn dismiss(&self) {
        let mut state = self.lock();
        state.expected.clear();
        state.absent.clear();
    }

    /// Notes that this node owes another one the answer to a call.
    pub(crate) fn owe(&self, answer: RollCallAnswer) {
        let RollCallAnswer { caller, number } = answer;
        let mut state = self.lock();
        if state.owed.len() < NODES_MAX || state.owed.contains_key(&caller) {
            state.owed.insert(caller, number);
        }
    }

    /// An answer may not have arrived: it is owed again, unless the node has called anew.
    pub(crate) fn owe_again(&self, answer: RollCallAnswer) {
        let mut state = self.lock();
        if state.owed.len() < NODES_MAX {
            state.owed.entry(answer.caller).or_insert(answer.number);
        }
    }

    /// Takes the answers that are owed: the nodes that have called, and the numbers of their calls.
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
        assert!(!attendance.answered(node(1), first), "it has");
        assert_eq!(attendance.absent(), [node(2)]);
        let second = attendance.call().unwrap();
        assert!(!attendance.answered(node(2), first), "that is over");
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
