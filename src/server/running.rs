//! Running a server: the accept loop, and the shutdown in order.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, join_all, select};
use tokio::time::timeout;

use super::listening::Listener;
#[cfg(feature = "metrics")]
use super::metrics;
use super::mounted_hubs::MountedHubs;
use super::pending_conn::PendingConn;
use super::shared::ServerShared;
use super::{Server, events};
use crate::hub::{Shutdown, ShutdownReport};
use crate::telemetry::Throttle;

/// The first and the longest pause after an `accept` that failed, for example because no descriptor
/// is left.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

impl Server {
    /// Serves until the future is dropped.
    ///
    /// # Cancel safety
    /// If the future is dropped, the server stops accepting. Connections that were accepted go on.
    pub async fn run(self) {
        let (open, _) = self.open();
        open.serve().await;
    }

    /// Serves until `signal` resolves, which is usually
    /// [`shutdown_signal`](crate::shutdown_signal). Then shuts the server and its hubs down in
    /// order, within the time that `how` allows:
    ///
    /// 1. [`health`](Self::health) answers 503 for as long as
    ///    [`Shutdown::not_ready_for`](crate::Shutdown::not_ready_for) says, and everything else
    ///    goes on: load balancers learn to send new clients elsewhere.
    /// 2. The hubs are shut down ([`Hub::shutdown`](crate::Hub::shutdown)). New clients are
    ///    accepted, and get 503 with `Retry-After`.
    /// 3. The server stops accepting. Responses under way are finished, and idle connections are
    ///    closed.
    ///
    /// Returns the sum of the reports of all hubs.
    ///
    /// # Cancel safety
    /// Before the shutdown: as [`run`](Self::run). After it has begun: as
    /// [`Hub::shutdown`](crate::Hub::shutdown).
    ///
    /// # Examples
    /// ```no_run
    /// use std::time::Duration;
    /// use roomcast::{Hub, Server, Shutdown, shutdown_signal};
    ///
    /// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::<String>::new();
    /// let server = Server::bind("0.0.0.0:8080").await?
    ///     .route("/ws/{room}", hub.handle(hub.handlers()))?
    ///     .health("/healthz")?;
    /// let seconds = Duration::from_secs;
    /// let how = Shutdown::within(seconds(25)).not_ready_for(seconds(5));
    /// println!("{}", server.run_until(shutdown_signal(), how).await);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run_until(
        self,
        signal: impl Future<Output = ()>,
        how: impl Into<Shutdown>,
    ) -> ShutdownReport {
        let how = how.into();
        let (open, hubs) = self.open();
        let server = open.server.clone();
        let end = pin!(async {
            signal.await;
            let began = Instant::now();
            (began, hubs.shutdown(&how).await)
        });
        let serving = Box::pin(open.serve());
        let (began, report) = match select(end, serving).await {
            Either::Left((ended, serving)) => {
                // Closes the listeners.
                drop(serving);
                ended
            }
            Either::Right(((), end)) => end.await,
        };
        // Waits for the rest of the time. The connections that are left then are cut when the
        // process ends.
        let end = server.ending.begin(|| server.admission.connections() == 0);
        let _ = timeout(how.deadline().saturating_sub(began.elapsed()), end).await;
        report
    }

    fn open(self) -> (Open, MountedHubs) {
        let hubs = self.hubs.clone();
        let (listeners, server) = self.into_parts();
        (Open { listeners, server }, hubs)
    }
}

/// A running server.
struct Open {
    listeners: Vec<Listener>,
    server: Arc<ServerShared>,
}

impl Open {
    async fn serve(self) {
        #[cfg(feature = "metrics")]
        let _reporting = metrics::report(self.server.monitor.clone());
        join_all(self.listeners.iter().map(|listener| self.accept(listener))).await;
    }

    async fn accept(&self, listener: &Listener) {
        let counters = &self.server.monitor.0;
        let mut pause = ACCEPT_PAUSE.0;
        let mut failures = Throttle::default();
        loop {
            match listener.accept().await {
                Ok(accepted) => {
                    pause = ACCEPT_PAUSE.0;
                    counters.accepted.add(1);
                    PendingConn::receive(&self.server, accepted);
                }
                // The client had gone before it was accepted. The next client may be waiting.
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    counters.accept_failures.add(1);
                    if let Some(failures) = failures.add(1) {
                        events::accept_failed(&error, failures);
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE.1);
                }
            }
        }
    }
}

/// Whether an `accept` failed because of the client, and not because of the system.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
