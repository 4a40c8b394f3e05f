//! Health, metrics and log of the server: `/healthz`; `/metrics` with the feature `metrics`; a log with the feature
//! `tracing`.

use roomcast::{Hub, StatusCode};
use serde::Serialize;

/// The body of `/healthz`.
#[derive(Serialize)]
struct Health {
    /// Whether a load balancer should send clients to this server.
    ready: bool,
    /// Shards that have died: their clients were cut, and the server goes on with the other shards.
    shards_gone: u64,
    connections: usize,
    backplane: Option<Backplane>,
}

#[derive(Serialize)]
struct Backplane {
    state: String,
    error: Option<String>,
}

/// Whether a load balancer should send clients to this server, and details for people. A backplane that is down is
/// reported, but the server stays ready: the other nodes have the same problem, and messages still reach the clients of
/// this server.
pub(crate) fn health<T: Send + 'static>(hub: &Hub<T>) -> (StatusCode, String) {
    let ready = hub.is_ready();
    let backplane = hub.backplane_health().map(|health| Backplane {
        state: health.state.to_string(),
        error: hub.backplane_err().map(|error| error.to_string()),
    });
    let shards_gone = hub.stats().shards_gone;
    let health = Health { ready, shards_gone, connections: hub.count(), backplane };
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, simd_json::to_string(&health).expect("a struct of plain values serializes"))
}

/// Starts the log with this filter, or else with the filter in `RUST_LOG`. Without a filter there is no log.
#[cfg(feature = "tracing")]
pub(crate) fn log(filter: Option<&str>) -> Result<(), Box<dyn std::error::Error>> {
    use tracing_subscriber::EnvFilter;

    let from_env = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    if let Some(filter) = filter.or(from_env.as_deref()) {
        let filter = EnvFilter::try_new(filter)?;
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    Ok(())
}

#[cfg(feature = "metrics")]
pub(crate) use self::prometheus::Metrics;

#[cfg(feature = "metrics")]
mod prometheus {
    use std::error::Error;
    use std::time::Duration;

    use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
    use roomcast::{Hub, ServerMonitor};

    /// The interval at which the exporter moves recorded values into its buckets, also when nobody scrapes.
    const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

    const LATENCY_SECONDS: &[f64] = &[
        0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0,
        5.0, 10.0,
    ];

    const BURST_MESSAGES: &[f64] =
        &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];

    /// The exporter behind `/metrics`.
    #[derive(Clone)]
    pub(crate) struct Metrics(PrometheusHandle);

    impl Metrics {
        pub(crate) fn install() -> Result<Self, Box<dyn Error>> {
            let latency = Matcher::Full("roomcast_delivery_latency_seconds".to_owned());
            let burst = Matcher::Full("roomcast_burst_messages".to_owned());
            let handle = PrometheusBuilder::new()
                .set_buckets_for_metric(latency, LATENCY_SECONDS)?
                .set_buckets_for_metric(burst, BURST_MESSAGES)?
                .install_recorder()?;
            let upkeep = handle.clone();
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
                loop {
                    ticks.tick().await;
                    upkeep.run_upkeep();
                }
            });
            Ok(Self(handle))
        }

        /// Returns the current metrics in Prometheus' text format.
        pub(crate) fn render<T: Send + 'static>(
            &self,
            hub: &Hub<T>,
            server: &ServerMonitor,
        ) -> Option<String> {
            hub.record_metrics();
            server.record_metrics();
            Some(self.0.render())
        }
    }
}

/// Without the feature `metrics`, `/metrics` answers 404.
#[cfg(not(feature = "metrics"))]
#[derive(Clone)]
pub(crate) struct Metrics;

#[cfg(not(feature = "metrics"))]
impl Metrics {
    pub(crate) fn install() -> Result<Self, std::convert::Infallible> {
        Ok(Self)
    }

    pub(crate) fn render<H, S>(&self, _: &H, _: &S) -> Option<String> {
        None
    }
}
