//! How the server is, for those who watch it: `/healthz`, `/metrics` with the feature `metrics`, and a log
//! with the feature `tracing`.

use roomcast::{Hub, StatusCode};
use serde::Serialize;

/// What `/healthz` tells.
#[derive(Serialize)]
struct Health {
    /// Whether clients should come here.
    ready: bool,
    /// Shards that are gone: their clients were cut, and what is left is a part of the server.
    shards_gone: u64,
    connections: usize,
    backplane: Option<Backplane>,
}

#[derive(Serialize)]
struct Backplane {
    state: String,
    error: Option<String>,
}

/// Whether clients should come here, and more for those who look why not. A backplane that is away is told,
/// and no reason to send them elsewhere: the other nodes are as well off, and messages still reach everybody
/// who is here.
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
    (status, simd_json::to_string(&health).expect("it is made of plain values"))
}

/// Logs what the filter lets through, or `RUST_LOG`. Without either there is no log.
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

    /// How often the exporter sorts in what was recorded, whether or not anybody scrapes.
    const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

    const LATENCY_SECONDS: &[f64] = &[
        0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0,
        5.0, 10.0,
    ];

    const BURST_MESSAGES: &[f64] =
        &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];

    /// What `/metrics` shows.
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

        /// The figures of this moment, in Prometheus' text format.
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

/// Without the feature there is nothing to show.
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
