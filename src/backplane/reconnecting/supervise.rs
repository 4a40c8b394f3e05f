//! The loop that keeps one half of a connection up.
//!
//! # Invariants
//! 1. The loop never ends by itself: an error or a panic of a driver leads to the next attempt.
//! 2. Before each attempt there is a wait: a back-off, or less if the other half recovers or the
//!    driver invites to connect. An invitation is effective after 10 ms at the earliest, which
//!    bounds how often a driver can trigger attempts.
//! 3. Signals that arrive during an attempt are not lost: the loop asks for the invitation and
//!    marks the recoveries as seen before the attempt begins. The exception is a half that worked
//!    until now: what the other half found while this half worked is old.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::sleep;

use super::backoff::Backoff;
use super::halves::ConnectionHalves;
use crate::backplane::contract::{Backplane, BackplaneError, BackplaneRequest};
use crate::backplane::health::half::Half;
use crate::runtime::deadline::timeout;

/// How long a server may take to accept a connection. A healthy server needs far less than two
/// seconds. With a probe every 4.5 s, a silent server is noticed within seven.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// One half of a connection, which can be connected and served any number of times.
pub(crate) trait Attempt: Send {
    /// Which half.
    const HALF: Half;

    /// Connects and serves until there is an error, which it returns. Resets the back-off once
    /// everything works.
    fn attempt(&mut self, backoff: &mut Backoff) -> impl Future<Output = BackplaneError> + Send;
}

/// The shortest wait before an attempt that the driver invites to (invariant 2).
const INVITED_WAIT_MIN: Duration = Duration::from_millis(10);

/// Attempts for ever.
pub(crate) async fn supervise<A: Attempt>(
    mut half: A,
    backplane: &impl Backplane,
    halves: &ConnectionHalves,
) {
    let mut backoff = Backoff::new();
    let mut recovered = halves.recovered();
    loop {
        // Invariant 3.
        recovered.mark_unchanged();
        let invited = backplane.invites();
        let attempt = AssertUnwindSafe(half.attempt(&mut backoff)).catch_unwind().await;
        let panicked = || BackplaneError::Connection("the driver panicked".to_owned());
        if halves.down(A::HALF, attempt.unwrap_or_else(|_| panicked())) {
            // Invariant 3. A recovery of the other half between these two lines is missed, too, and
            // costs this half one wait.
            recovered.mark_unchanged();
        }
        tokio::select! {
            () = sleep(backoff.wait()) => {}
            _ = recovered.changed() => {}
            () = async { sleep(INVITED_WAIT_MIN).await; invited.await } => backoff.reset(),
        }
        halves.health.counters.reconnects.add(1);
    }
}

/// Waits for a connection, for [`CONNECT_DEADLINE`] at most.
pub(crate) async fn connect<C>(
    connecting: impl Future<Output = Result<C, BackplaneError>>,
) -> Result<C, BackplaneError> {
    within(CONNECT_DEADLINE, BackplaneRequest::Connect, connecting).await
}

/// Waits for the answer to a request, for `deadline` at most.
///
/// # Errors
/// Those of the request, or [`BackplaneError::Silent`].
pub(crate) async fn within<V>(
    deadline: Duration,
    request: BackplaneRequest,
    answer: impl Future<Output = Result<V, BackplaneError>>,
) -> Result<V, BackplaneError> {
    timeout(deadline, answer)
        .await
        .unwrap_or(Err(BackplaneError::Silent { request, waited: deadline }))
}
