//! Processes that must not use io_uring. A filter of system calls (seccomp) forbids it, as the default profile of
//! Docker does. A process cannot remove its filters, and passes them on to its child processes.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

/// The numbers of the system calls, on all architectures of these tests.
const IO_URING_SETUP: i64 = 425;
const IO_URING_ENTER: i64 = 426;

/// `EPERM`, the error of a forbidden call.
const NOT_PERMITTED: u32 = 1;

/// From now on, all threads of this process fail to make a ring.
pub fn forbid_new_rings() {
    forbid(IO_URING_SETUP);
}

/// From now on, all threads of this process fail to use a ring, also one that they have.
pub fn forbid_all_rings() {
    forbid(IO_URING_ENTER);
}

fn forbid(call: i64) {
    let action = SeccompAction::Errno(NOT_PERMITTED);
    let architecture = ARCH.try_into().expect("an architecture that the crate knows");
    // A call without rules always matches.
    let calls = BTreeMap::from([(call, Vec::new())]);
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, action, architecture);
    let program = BpfProgram::try_from(filter.expect("the two actions differ"));
    apply_filter_all_threads(&program.expect("the filter is short")).expect("filters are allowed");
}
