//! The metrics of a server, for the facade `metrics`.

use metrics::Unit::Count;
use tokio::task::JoinSet;

use super::{ServerMonitor, ServerStats};
use crate::telemetry::metrics::Value::{ByReason, Counter};
use crate::telemetry::metrics::{COPY_INTERVAL, Copyist, Metric, keep_copying};

#[rustfmt::skip]
const SERVER: &[Metric<ServerStats>] = &[
    Metric("roomcast_server_accepted_total", Count, "Connections that were accepted",
        Counter(|server| server.accepted)),
    Metric("roomcast_server_accept_failures_total", Count, "Times that no connection could be accepted",
        Counter(|server| server.accept_failures)),
    Metric("roomcast_server_idle_closed_total", Count, "Idle connections closed between requests",
        Counter(|server| server.keep_alives_timed_out)),
    Metric("roomcast_server_unnamed_clients_total", Count, "Requests of trusted proxies that name no client",
        Counter(|server| server.clients_unnamed)),
    Metric("roomcast_server_rejections_total", Count, "Connections and requests rejected before a handshake",
        ByReason(&[
            ("full", |server| server.refused_full),
            ("address", |server| server.refused_addrs),
            ("descriptors", |server| server.refused_descriptors),
            ("proxy_timeout", |server| server.proxy_headers_timed_out),
            ("proxy", |server| server.proxy_headers_malformed),
            ("tls_timeout", |server| server.tls_timed_out),
            ("tls", |server| server.tls_failed),
            ("head_timeout", |server| server.heads_timed_out),
            ("head_too_large", |server| server.heads_too_large),
            ("uri_too_long", |server| server.uris_too_long),
            ("response_stalled", |server| server.responses_stalled),
            ("malformed", |server| server.malformed),
        ])),
];

impl ServerMonitor {
    /// Copies the counters to the recorder of the facade `metrics`. The label `server` is the
    /// address on which the server listens. The page [`metrics`](crate::docs::metrics) lists the
    /// metrics.
    ///
    /// A running server copies its counters by itself, every second.
    pub fn record_metrics(&self) {
        let name = self.local_addr().map_or_else(|| "unknown".to_owned(), |addr| addr.to_string());
        Copyist::of("server", &name).copy(SERVER, &self.stats());
    }
}

/// Copies the counters every [`COPY_INTERVAL`], until the returned value is dropped.
pub(super) fn report(monitor: ServerMonitor) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(keep_copying(COPY_INTERVAL, move || {
        monitor.record_metrics();
        true
    }));
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new counter must be named here: the test does not compile without it, and fails if it is
    /// not copied.
    #[test]
    fn every_counter_of_a_server_is_copied() {
        let stats = ServerStats {
            accepted: 1,
            accept_failures: 2,
            keep_alives_timed_out: 3,
            clients_unnamed: 4,
            refused_full: 5,
            refused_addrs: 6,
            refused_descriptors: 7,
            proxy_headers_timed_out: 8,
            proxy_headers_malformed: 9,
            tls_timed_out: 10,
            tls_failed: 11,
            heads_timed_out: 12,
            heads_too_large: 13,
            uris_too_long: 14,
            responses_stalled: 15,
            malformed: 16,
        };
        let copied = SERVER.iter().flat_map(|metric| metric.values(&stats));
        assert!(copied.eq(1..17));
    }
}
