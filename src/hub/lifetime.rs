//! The lifetime of a hub: its counted connections, and the phase of its shutdown.
//!
//! # Invariants
//!
//! 1. A handshake first counts its connection, and then checks whether the hub is closing. A
//!    shutdown first moves the phase, and then reads the count. A `SeqCst` fence between the two
//!    steps on each side makes sure that at least one side sees the other: a handshake that a
//!    shutdown does not count is refused.
//! 2. The count reaches zero only in [`leave`](Lifetime::leave), which then notifies the waiting
//!    calls. A shutdown that has moved the phase asks the shards to close, and then notifies the
//!    waiting calls.
//! 3. A waiting call registers for notifications before it checks the condition.
//!
//! Models check these rules (`tests/models/loom/lifetime.rs`).

use std::net::SocketAddr;
use std::pin::pin;

use futures_util::future::select;

use crate::engine::sync::{AtomicU8, Ordering, fence};
use crate::net::{Admission, AdmissionLimits, Denied};
use crate::runtime::notify::Notify;
use crate::runtime::shield::shielded;

/// How far the shutdown of a hub has come. It only moves forward.
#[derive(Debug, Clone, Copy)]
pub(super) enum ShutdownPhase {
    /// The hub works as before. Only the health checks say that new clients should go to other
    /// nodes.
    NotReady = 1,
    /// New connections are refused, and open connections are closed. Messages still flow.
    Closing = 2,
    /// Publishes fail.
    Closed = 3,
}

/// The counted connections of a hub, and the phase of its shutdown.
pub(super) struct Lifetime {
    admission: Admission,
    /// A [`ShutdownPhase`], or 0 before the first. Any thread may move it forward.
    phase: AtomicU8,
    /// Notified by the last connection that leaves, and by a shutdown.
    changed: Notify,
}

impl Lifetime {
    pub(super) fn new(limits: AdmissionLimits) -> Self {
        Self { admission: Admission::new(limits), phase: AtomicU8::new(0), changed: Notify::new() }
    }

    /// Counts a new connection and its handshake. Next, the caller must check whether the hub is
    /// closing (invariant 1). Later it must call [`end_handshake`](Self::end_handshake) and
    /// [`leave`](Self::leave) once each.
    pub(super) fn enter(&self, addr: Option<SocketAddr>) -> Result<(), Denied> {
        self.admission.begin(addr)?;
        // Invariant 1: pairs with the fence in `advance`.
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// Uncounts a handshake: the connection is open, or will never be.
    pub(super) fn end_handshake(&self) {
        self.admission.end_handshake();
    }

    /// Uncounts a connection that has ended.
    pub(super) fn leave(&self, addr: Option<SocketAddr>) {
        if self.admission.end(addr) {
            // Invariant 2.
            self.notify();
        }
    }

    /// The number of connections, each from its request to its end.
    pub(super) fn connections(&self) -> usize {
        self.admission.connections()
    }

    /// Whether there is a limit per address.
    pub(super) fn limits_addrs(&self) -> bool {
        self.admission.limits_addrs()
    }

    pub(super) fn has_reached(&self, phase: ShutdownPhase) -> bool {
        // Pairs with `advance`: a thread that sees a phase also sees all writes before it.
        self.phase.load(Ordering::Acquire) >= phase as u8
    }

    /// Moves the phase forward. Returns `true` for the call that has moved it. The
    /// caller then asks the shards to close, and calls [`notify`](Self::notify) (invariant 2).
    pub(super) fn advance(&self, phase: ShutdownPhase) -> bool {
        // Pairs with `has_reached`.
        let before = self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        // Invariant 1: pairs with the fence in `enter`.
        fence(Ordering::SeqCst);
        before < phase as u8
    }

    /// Makes the waiting calls check their conditions again.
    pub(super) fn notify(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until a condition holds. Checks the condition now, and at each notification of this
    /// lifetime or of `other`.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub(super) async fn when(&self, other: &Notify, condition: impl Fn() -> bool) {
        loop {
            let mut changed = pin!(self.changed.notified());
            let mut other = pin!(other.notified());
            // Invariant 3: from here on no notification is missed.
            changed.as_mut().enable();
            other.as_mut().enable();
            if condition() {
                return;
            }
            shielded(select(changed, other)).await;
        }
    }
}
