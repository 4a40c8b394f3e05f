//! Keeping one half of a connection: again and again, with a back-off.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::contract::{BackplaneError, BackplaneRequest};
use super::health::{Half, Health};

/// How long a server has to take a connection. Two seconds is far more than any healthy one needs,
/// and short enough that a silent one is known within seven, with a probe every five.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// One half, from connecting to its end.
pub(super) trait Attempt: Send {
    /// Which.
    const HALF: Half;

    /// Connects and serves, until there is an error. Starts the back-off over when all went well.
    fn attempt(&mut self, backoff: &mut Backoff) -> impl Future<Output = BackplaneError> + Send;
}

/// Attempts for ever. `recovered` is rung by the other half when it has found a server that works:
/// then there is nothing more to wait for.
pub(super) async fn supervise<A: Attempt>(mut half: A, health: &Health, recovered: &Notify) {
    let mut backoff = Backoff::new();
    loop {
        let attempt = AssertUnwindSafe(half.attempt(&mut backoff)).catch_unwind().await;
        let panicked = || BackplaneError::Connection("the driver panicked".to_owned());
        health.down(A::HALF, attempt.unwrap_or_else(|_| panicked()));
        tokio::select! {
            () = sleep(backoff.wait()) => {}
            () = recovered.notified() => {}
        }
        health.counters.reconnects.add(1);
    }
}

/// The connection, in time.
pub(super) async fn connect<C>(
    connecting: impl Future<Output = Result<C, BackplaneError>>,
) -> Result<C, BackplaneError> {
    within(CONNECT_DEADLINE, BackplaneRequest::Connect, connecting).await
}

/// The answer to a request, in time.
pub(super) async fn within<V>(
    deadline: Duration,
    request: BackplaneRequest,
    answer: impl Future<Output = Result<V, BackplaneError>>,
) -> Result<V, BackplaneError> {
    timeout(deadline, answer)
        .await
        .unwrap_or(Err(BackplaneError::Silent { request, waited: deadline }))
}
