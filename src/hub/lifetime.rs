//! Who is in a hub, and how far the end of the hub has come.
//!
//! # Invariants
//!
//! 1. A newcomer is counted, and then looks whether the hub is closing. A shutdown moves the phase, and then looks at
//!    the count. A `SeqCst` fence between the two steps on each side makes sure that at least one side sees the other:
//!    a newcomer that a shutdown does not count is refused.
//! 2. The count reaches zero only in [`leave`](Lifetime::leave), which then rings. A move to `Closing` or `Closed` is
//!    followed by a ring, too, once the connections are told of it.
//! 3. A thread that waits is registered for rings before it looks at the condition.
//!
//! Models check them (`tests/models/loom/lifetime.rs`).

use std::net::SocketAddr;
use std::pin::pin;

use futures_util::future::select;

use crate::engine::sync::{AtomicU8, Ordering, fence};
use crate::net::{Admission, AdmissionLimits, Denied};
use crate::runtime::notify::Notify;
use crate::runtime::shield::shielded;

/// How far the end of a hub has come. It only moves forward.
#[derive(Debug, Clone, Copy)]
pub(super) enum ShutdownPhase {
    /// Everything goes on. Only health checks say that new clients should go elsewhere.
    NotReady = 1,
    /// No new connections; the others are told to go, and messages still flow.
    Closing = 2,
    /// Nothing is published any more.
    Closed = 3,
}

/// The connections of a hub, counted, and the phase of the hub's end.
pub(super) struct Lifetime {
    admission: Admission,
    /// A [`ShutdownPhase`], zero before the first. Any thread moves it on.
    phase: AtomicU8,
    /// Rung by the last connection that leaves, and by a shutdown.
    moved: Notify,
}

impl Lifetime {
    pub(super) fn new(limits: AdmissionLimits) -> Self {
        Self { admission: Admission::new(limits), phase: AtomicU8::new(0), moved: Notify::new() }
    }

    /// Counts a connection in, and its handshake. The caller has to look next whether the hub is closing (invariant
    /// 1), and to count both out once: [`end_handshake`](Self::end_handshake), [`leave`](Self::leave).
    pub(super) fn enter(&self, addr: Option<SocketAddr>) -> Result<(), Denied> {
        self.admission.begin(addr)?;
        // Invariant 1: pairs with the fence in `advance`.
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// Counts a handshake out: the connection is open, or will never be.
    pub(super) fn end_handshake(&self) {
        self.admission.end_handshake();
    }

    /// Counts a connection out that is over.
    pub(super) fn leave(&self, addr: Option<SocketAddr>) {
        if self.admission.end(addr) {
            // Invariant 2.
            self.ring();
        }
    }

    /// Connections, from the request to the end.
    pub(super) fn connections(&self) -> usize {
        self.admission.connections()
    }

    /// Whether there is a limit of one address.
    pub(super) fn limits_addrs(&self) -> bool {
        self.admission.limits_addrs()
    }

    pub(super) fn has_reached(&self, phase: ShutdownPhase) -> bool {
        // Pairs with `advance`: a thread that sees a phase sees what was done before.
        self.phase.load(Ordering::Acquire) >= phase as u8
    }

    /// Moves the phase on; `true` for the call that has moved it. The caller has to [`ring`](Self::ring) when the
    /// connections are told (invariant 2).
    pub(super) fn advance(&self, phase: ShutdownPhase) -> bool {
        // Pairs with `has_reached`.
        let before = self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        // Invariant 1: pairs with the fence in `enter`.
        fence(Ordering::SeqCst);
        before < phase as u8
    }

    /// Lets the waiting calls look again.
    pub(super) fn ring(&self) {
        self.moved.notify_waiters();
    }

    /// Waits until a condition holds. Looks at it now, and whenever this lifetime or `other` rings.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub(super) async fn when(&self, other: &Notify, condition: impl Fn() -> bool) {
        loop {
            let mut moved = pin!(self.moved.notified());
            let mut other = pin!(other.notified());
            // Invariant 3: from here on no ring is missed.
            moved.as_mut().enable();
            other.as_mut().enable();
            if condition() {
                return;
            }
            shielded(select(moved, other)).await;
        }
    }
}
