//! Keeping one half of a connection: again and again, with a back-off.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::sleep;

use super::backoff::Backoff;
use super::halves::Halves;
use crate::backplane::contract::{Backplane, BackplaneError, BackplaneRequest};
use crate::backplane::health::half::Half;
use crate::runtime::deadline::timeout;

/// How long a server has to take a connection. Two seconds is far more than any healthy one needs,
/// and short enough that a silent one is known within seven, with a probe every 4.5.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// One half, from connecting to its end.
pub(crate) trait Attempt: Send {
    /// Which.
    const HALF: Half;

    /// Connects and serves, until there is an error. Starts the back-off over when all went well.
    fn attempt(&mut self, backoff: &mut Backoff) -> impl Future<Output = BackplaneError> + Send;
}

/// The shortest wait before an attempt that the driver invites to: bounds how often a driver does so.
const INVITED_WAIT_MIN: Duration = Duration::from_millis(10);

/// Attempts for ever. There is nothing more to wait for when the other half finds a server that works, or
/// when the driver has news, also where that was during the attempt.
pub(crate) async fn supervise<A: Attempt>(
    mut half: A,
    backplane: &impl Backplane,
    halves: &Halves,
) {
    let mut backoff = Backoff::new();
    let mut recovered = halves.recovered();
    loop {
        recovered.mark_unchanged();
        let invited = backplane.invites();
        let attempt = AssertUnwindSafe(half.attempt(&mut backoff)).catch_unwind().await;
        let panicked = || BackplaneError::Connection("the driver panicked".to_owned());
        if halves.down(A::HALF, attempt.unwrap_or_else(|_| panicked())) {
            // What the other half found while this one worked is no news. What it finds between these
            // two lines is, and costs this half one wait.
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

/// The connection, in time.
pub(crate) async fn connect<C>(
    connecting: impl Future<Output = Result<C, BackplaneError>>,
) -> Result<C, BackplaneError> {
    within(CONNECT_DEADLINE, BackplaneRequest::Connect, connecting).await
}

/// The answer to a request, in time.
pub(crate) async fn within<V>(
    deadline: Duration,
    request: BackplaneRequest,
    answer: impl Future<Output = Result<V, BackplaneError>>,
) -> Result<V, BackplaneError> {
    timeout(deadline, answer)
        .await
        .unwrap_or(Err(BackplaneError::Silent { request, waited: deadline }))
}
