//! The metrics of a hub for the facade `metrics`, and the task that copies them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use metrics::Unit::{Bytes, Count, Seconds};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::{Hub, Inner, Stats};
use crate::backplane::{BackplaneHealth, BackplaneState};
use crate::engine::Amount;
use crate::shards::{Sample, Sampler};
use crate::telemetry::metrics::Value::{ByReason, Counter, Gauge};
use crate::telemetry::metrics::{Copyist, Metric, keep_copying};

/// The time from one sample to the next. At most 50 samples a second are enough for a histogram,
/// and their cost is too small to measure.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);

/// The figures of the hub itself.
struct HubFigures {
    stats: Stats,
    queued_bytes: usize,
    inbox_messages: usize,
    inbox_bytes: usize,
}

/// The figures of the backplane.
struct BackplaneFigures {
    health: BackplaneHealth,
    nodes: usize,
}

#[rustfmt::skip]
const HUB_METRICS: &[Metric<HubFigures>] = &[
    Metric("roomcast_connections", Count, "Open connections",
        Gauge(|hub| hub.stats.connections as f64)),
    Metric("roomcast_rooms", Count, "Rooms with members; a room counts once per shard that has members of it",
        Gauge(|hub| hub.stats.rooms as f64)),
    Metric("roomcast_blocked_connections", Count, "Connections whose socket takes no more bytes now",
        Gauge(|hub| hub.stats.blocked as f64)),
    Metric("roomcast_queued_bytes", Bytes, "Bytes that wait for blocked connections",
        Gauge(|hub| hub.queued_bytes as f64)),
    Metric("roomcast_inbox_messages", Count, "Messages, joins and leaves that wait for shards",
        Gauge(|hub| hub.inbox_messages as f64)),
    Metric("roomcast_inbox_bytes", Bytes, "Bytes of frames that wait for shards",
        Gauge(|hub| hub.inbox_bytes as f64)),
    Metric("roomcast_connections_opened_total", Count, "Connections that were opened",
        Counter(|hub| hub.stats.connected)),
    Metric("roomcast_connections_ended_total", Count, "Connections that have ended",
        Counter(|hub| hub.stats.disconnected)),
    Metric("roomcast_connections_closed_total", Count, "Connections that the hub closed, by reason",
        ByReason(&[
            ("idle", |hub| hub.stats.closed_idle),
            ("protocol", |hub| hub.stats.closed_protocol),
            ("too_big", |hub| hub.stats.closed_too_big),
            ("fragments", |hub| hub.stats.closed_fragments),
            ("slow_message", |hub| hub.stats.closed_slow_message),
            ("flooding", |hub| hub.stats.closed_flooding),
            ("overloaded", |hub| hub.stats.closed_overloaded),
        ])),
    Metric("roomcast_connections_shed_total", Count, "Connections that Hub::shed asked to connect to another node",
        Counter(|hub| hub.stats.shed)),
    Metric("roomcast_evictions_total", Count, "Connections evicted because the client did not read",
        ByReason(&[
            ("full", |hub| hub.stats.evicted_full),
            ("stalled", |hub| hub.stats.evicted_stalled),
            ("memory", |hub| hub.stats.evicted_for_memory),
        ])),
    Metric("roomcast_handshakes_refused_total", Count, "Handshakes that were refused",
        ByReason(&[
            ("malformed", |hub| hub.stats.refused_malformed),
            ("no_upgrade", |hub| hub.stats.refused_without_upgrade),
            ("origin", |hub| hub.stats.refused_origins),
            ("handler", |hub| hub.stats.refused_by_handler),
            ("rooms", |hub| hub.stats.refused_for_rooms),
            ("closing", |hub| hub.stats.refused_closing),
            ("full", |hub| hub.stats.refused_full),
            ("address", |hub| hub.stats.refused_addrs),
        ])),
    Metric("roomcast_handshakes_failed_total", Count, "Handshakes that did not become a connection",
        ByReason(&[
            ("unfinished", |hub| hub.stats.upgrades_failed),
            ("unsupported", |hub| hub.stats.upgrades_unsupported),
        ])),
    Metric("roomcast_received_messages_total", Count, "Messages received from clients",
        Counter(|hub| hub.stats.messages_in)),
    Metric("roomcast_received_bytes_total", Bytes, "Payload bytes received from clients, inflated",
        Counter(|hub| hub.stats.bytes_in)),
    Metric("roomcast_received_compressed_messages_total", Count, "Messages received compressed",
        Counter(|hub| hub.stats.compressed_in)),
    Metric("roomcast_received_compressed_bytes_total", Bytes, "Payload bytes of messages received compressed, before inflating",
        Counter(|hub| hub.stats.compressed_bytes_in)),
    Metric("roomcast_decode_errors_total", Count, "Messages of clients that the codec could not decode",
        Counter(|hub| hub.stats.decode_errors)),
    Metric("roomcast_shard_messages_total", Count, "Messages taken from inboxes, once per shard",
        Counter(|hub| hub.stats.shard_messages)),
    Metric("roomcast_deliveries_total", Count, "Messages handed to a connection",
        Counter(|hub| hub.stats.deliveries)),
    Metric("roomcast_writes_total", Count, "Write calls that moved bytes",
        Counter(|hub| hub.stats.writes)),
    Metric("roomcast_batched_writes_total", Count, "Writes that left together with others, with one system call",
        Counter(|hub| hub.stats.batched_writes)),
    Metric("roomcast_rings", Count, "Shards that write with io_uring",
        Gauge(|hub| hub.stats.rings as f64)),
    Metric("roomcast_written_bytes_total", Bytes, "Bytes written",
        Counter(|hub| hub.stats.bytes_out)),
    Metric("roomcast_compressed_before_bytes_total", Bytes, "Bytes of bursts that left compressed, before compression",
        Counter(|hub| hub.stats.compressed_bytes_before)),
    Metric("roomcast_compressed_after_bytes_total", Bytes, "Bytes of bursts that left compressed",
        Counter(|hub| hub.stats.compressed_bytes_after)),
    Metric("roomcast_key_frames_total", Count, "Bursts that refer to nothing before",
        Counter(|hub| hub.stats.key_frames)),
    Metric("roomcast_out_of_step_total", Count, "Bursts that a client got plain because it was out of step",
        Counter(|hub| hub.stats.out_of_step)),
    Metric("roomcast_compressors", Count, "Compressors in memory",
        Gauge(|hub| hub.stats.compressors as f64)),
    Metric("roomcast_compressing_nanoseconds_total", Count, "Processor time of compressing in nanoseconds, estimated",
        Counter(|hub| hub.stats.compressing_ns)),
    Metric("roomcast_dropped_total", Count, "Messages lost on their way to a connection",
        ByReason(&[
            ("oldest", |hub| hub.stats.dropped_oldest),
            ("newest", |hub| hub.stats.dropped_newest),
            ("end", |hub| hub.stats.dropped_at_end),
        ])),
    Metric("roomcast_inbox_refusals_total", Count, "Publishes, joins and leaves refused by a full inbox",
        Counter(|hub| hub.stats.inbox_refusals)),
    Metric("roomcast_room_refusals_total", Count, "Joins refused because the hub has too many rooms",
        Counter(|hub| hub.stats.room_refusals)),
    Metric("roomcast_join_refusals_total", Count, "Joins by Hub::join refused because the connection is in too many rooms",
        Counter(|hub| hub.stats.join_refusals)),
    Metric("roomcast_heartbeats_total", Count, "Heartbeats of clients that were answered",
        Counter(|hub| hub.stats.heartbeats)),
    Metric("roomcast_pings_total", Count, "Pings sent",
        Counter(|hub| hub.stats.pings)),
    Metric("roomcast_pongs_replaced_total", Count, "Pongs replaced by a newer pong",
        Counter(|hub| hub.stats.pongs_replaced)),
    Metric("roomcast_subscribe_timeouts_total", Count, "Joins whose subscription did not come in time",
        Counter(|hub| hub.stats.subscribe_timeouts)),
    Metric("roomcast_callback_errors_total", Count, "Callbacks that returned an error",
        Counter(|hub| hub.stats.callback_errors)),
    Metric("roomcast_handler_panics_total", Count, "Handlers that panicked",
        Counter(|hub| hub.stats.handler_panics)),
    Metric("roomcast_room_state_panics_total", Count, "Calls of a room state that panicked",
        Counter(|hub| hub.stats.room_state_panics)),
    Metric("roomcast_stream_panics_total", Count, "Streams of the application that panicked",
        Counter(|hub| hub.stats.stream_panics)),
    Metric("roomcast_shards_gone", Count, "Shards that have ended, with their runtime or by a panic",
        Gauge(|hub| hub.stats.shards_gone as f64)),
];

#[rustfmt::skip]
const BACKPLANE_METRICS: &[Metric<BackplaneFigures>] = &[
    Metric("roomcast_backplane_up", Count, "1 while messages flow both ways, else 0",
        Gauge(|it| if it.health.state == BackplaneState::Up { 1.0 } else { 0.0 })),
    Metric("roomcast_backplane_nodes", Count, "Known nodes, this node included",
        Gauge(|it| it.nodes as f64)),
    Metric("roomcast_backplane_subscriptions", Count, "Subscribed channels",
        Gauge(|it| it.health.subscriptions as f64)),
    Metric("roomcast_backplane_queued_messages", Count, "Messages that wait to be published",
        Gauge(|it| it.health.queued as f64)),
    Metric("roomcast_backplane_unacknowledged_messages", Count, "Messages sent and not yet acknowledged",
        Gauge(|it| it.health.in_flight as f64)),
    Metric("roomcast_backplane_awaited_nodes", Count, "Nodes that messages wait for after a break",
        Gauge(|it| it.health.awaited_nodes as f64)),
    Metric("roomcast_backplane_round_trip_seconds", Seconds, "Round trip of the last probe; 0 before the first",
        Gauge(|it| it.health.probe_round_trip.unwrap_or_default().as_secs_f64())),
    Metric("roomcast_backplane_published_total", Count, "Messages published and acknowledged",
        Counter(|it| it.health.published)),
    Metric("roomcast_backplane_envelopes_total", Count, "Envelopes that carried the published messages",
        Counter(|it| it.health.envelopes)),
    Metric("roomcast_backplane_received_total", Count, "Messages received from other nodes",
        Counter(|it| it.health.received)),
    Metric("roomcast_backplane_lost_total", Count, "Messages of other nodes that never arrived",
        Counter(|it| it.health.lost)),
    Metric("roomcast_backplane_duplicates_total", Count, "Messages that arrived again, and were dropped",
        Counter(|it| it.health.duplicates)),
    Metric("roomcast_backplane_dropped_total", Count, "Messages dropped from a full outbox",
        Counter(|it| it.health.dropped)),
    Metric("roomcast_backplane_unreached_total", Count, "Messages that a node missed because it was not back in time; each counts once per node",
        Counter(|it| it.health.unreached)),
    Metric("roomcast_backplane_rejected_total", Count, "Payloads and envelopes that were rejected",
        ByReason(&[
            ("overrun", |it| it.health.overrun),
            ("garbage", |it| it.health.garbage),
            ("version", |it| it.health.unknown_version),
            ("unauthenticated", |it| it.health.unauthenticated),
        ])),
    Metric("roomcast_backplane_plain_received_total", Count, "Messages received from other programs",
        Counter(|it| it.health.plain_received)),
    Metric("roomcast_backplane_plain_rejected_total", Count, "Payloads of other programs that were dropped",
        ByReason(&[
            ("too_large", |it| it.health.plain_too_large),
            ("unauthenticated", |it| it.health.plain_unauthenticated),
            ("malformed", |it| it.health.plain_malformed),
            ("undecodable", |it| it.health.plain_undecodable),
            ("overrun", |it| it.health.plain_overrun),
        ])),
    Metric("roomcast_backplane_unlisted_nodes_total", Count, "Times that a node exceeded the limit of 1,024 nodes",
        Counter(|it| it.health.unlisted_nodes)),
    Metric("roomcast_backplane_reconnects_total", Count, "Attempts to connect a half of the backplane again",
        Counter(|it| it.health.reconnects)),
];

impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// Copies the counters of the hub to the recorder of the facade [`metrics`]. The label `hub` is
    /// the hub's [`name`](crate::Builder::name). The page [`metrics`](crate::docs::metrics) lists
    /// all metrics.
    ///
    /// A hub does this by itself every [`metrics_interval`](crate::Builder::metrics_interval)
    /// (default: 1 s). Call it when you need current figures, such as before you render them.
    pub fn record_metrics(&self) {
        let copyist = Copyist::of("hub", self.name());
        let shards = &self.inner.shards;
        let Amount { messages: inbox_messages, bytes: inbox_bytes } = shards.reserved();
        let queued_bytes = shards.queued_bytes();
        copyist.copy(
            HUB_METRICS,
            &HubFigures { stats: self.stats(), queued_bytes, inbox_messages, inbox_bytes },
        );
        if let Some(health) = self.backplane_health() {
            let nodes = self.cluster().nodes().len();
            copyist.copy(BACKPLANE_METRICS, &BackplaneFigures { health, nodes });
        }
        record_samples(&copyist, shards.sampler());
        shards.sampler().arm();
    }

    /// Starts the task that copies the figures in each interval. The task ends with the hub.
    pub(super) fn report(&self, interval: Duration, runtime: &Handle) {
        if !interval.is_zero() {
            runtime.spawn(report(Arc::downgrade(&self.inner), interval));
        }
    }
}

async fn report<Out: 'static, In: Send + 'static>(hub: Weak<Inner<Out, In>>, interval: Duration) {
    let Some(inner) = hub.upgrade() else { return };
    let copyist = Copyist::of("hub", &inner.name);
    let sampler = inner.shards.sampler().clone();
    let has_backplane = inner.bridge.is_some();
    drop(inner);
    let copying = keep_copying(interval, || {
        let hub = hub.upgrade().map(|inner| Hub { inner });
        hub.inspect(Hub::record_metrics).is_some()
    });
    tokio::select! {
        () = copying => {}
        () = keep_sampling(&copyist, &sampler) => {}
    }
    copyist.clear(HUB_METRICS);
    if has_backplane {
        copyist.clear(BACKPLANE_METRICS);
    }
}

async fn keep_sampling(copyist: &Copyist, sampler: &Sampler) {
    loop {
        sampler.disarmed().await;
        sleep(SAMPLE_INTERVAL).await;
        record_samples(copyist, sampler);
        sampler.arm();
    }
}

fn record_samples(copyist: &Copyist, sampler: &Sampler) {
    let description = "Time from a publish to its last write, sampled";
    let latency = copyist.histogram("roomcast_delivery_latency_seconds", Seconds, description);
    let description = "Messages that a shard sent to the same members together, sampled";
    let burst = copyist.histogram("roomcast_burst_messages", Count, description);
    while let Some(sample) = sampler.pop() {
        match sample {
            Sample::Latency(time) => latency.record(time),
            Sample::Burst(messages) => burst.record(messages as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new counter does not compile until it is named here, and then fails until a metric copies
    /// it.
    #[test]
    fn every_counter_of_a_hub_is_copied() {
        let mut numbers = 1..;
        let mut next = || numbers.next().expect("the range is endless");
        let stats = Stats {
            connections: next(),
            rooms: next(),
            blocked: next(),
            connected: next(),
            disconnected: next(),
            upgrades_failed: next(),
            upgrades_unsupported: next(),
            refused_malformed: next(),
            refused_without_upgrade: next(),
            refused_origins: next(),
            refused_by_handler: next(),
            refused_for_rooms: next(),
            refused_closing: next(),
            refused_full: next(),
            refused_addrs: next(),
            messages_in: next(),
            bytes_in: next(),
            compressed_in: next(),
            compressed_bytes_in: next(),
            shard_messages: next(),
            deliveries: next(),
            writes: next(),
            batched_writes: next(),
            rings: next(),
            bytes_out: next(),
            compressed_bytes_before: next(),
            compressed_bytes_after: next(),
            key_frames: next(),
            out_of_step: next(),
            compressors: next(),
            inbox_refusals: next(),
            room_refusals: next(),
            join_refusals: next(),
            dropped_oldest: next(),
            dropped_newest: next(),
            dropped_at_end: next(),
            evicted_full: next(),
            evicted_stalled: next(),
            evicted_for_memory: next(),
            closed_overloaded: next(),
            shed: next(),
            closed_idle: next(),
            closed_protocol: next(),
            closed_too_big: next(),
            closed_fragments: next(),
            closed_slow_message: next(),
            closed_flooding: next(),
            heartbeats: next(),
            pings: next(),
            pongs_replaced: next(),
            decode_errors: next(),
            compressing_ns: next(),
            subscribe_timeouts: next(),
            callback_errors: next(),
            handler_panics: next(),
            room_state_panics: next(),
            stream_panics: next(),
            shards_gone: next(),
        };
        let here = HubFigures {
            stats,
            queued_bytes: next() as usize,
            inbox_messages: next() as usize,
            inbox_bytes: next() as usize,
        };
        let mut copied: Vec<u64> =
            HUB_METRICS.iter().flat_map(|metric| metric.values(&here)).collect();
        copied.sort_unstable();
        assert!(copied.into_iter().eq(1..next()));
    }
}
