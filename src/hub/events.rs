//! The log events of a hub and its connections.

use std::any::Any;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderName;

use super::byte_bounds::ByteBounds;
use super::undecodable::Undecodable;
use super::{ShutdownReport, UpgradeRequest};
use crate::engine::{Close, DisconnectReason};
use crate::process::{Memory, Shortfall};
use crate::telemetry::events;
#[cfg(feature = "tracing")]
use crate::telemetry::panic_text;

events! {
    /// A connection was opened. This event and all later events of the connection are in its span.
    debug connected() for "roomcast::conn" { "connected" }

    /// A connection has ended.
    debug disconnected(reason: &DisconnectReason) for "roomcast::conn" {
        ?reason, "disconnected"
    }

    /// Messages could not be decoded: `times` on this hub since the last event of this kind. Shows
    /// the last message.
    warn undecodable(hub: &str, message: &Undecodable<'_>, times: u64) for "roomcast::conn" {
        hub, times, error = %message.reason(), bytes = message.bytes(), start = %message.start(),
        "message not decoded: `on_decode_error` can answer it, or close the connection"
    }

    /// A message could not be decoded, within a second of the last [`undecodable`] event.
    debug undecodable_throttled(message: &Undecodable<'_>) for "roomcast::conn" {
        error = %message.reason(), bytes = message.bytes(), start = %message.start(),
        "message not decoded"
    }

    /// A callback returned an error, which closed the connection.
    debug callback_failed(callback: &str, close: &Close) for "roomcast::conn" {
        callback, code = u16::from(close.code), reason = &*close.reason,
        "callback failed"
    }

    /// A callback, the codec, or the check of origins or of compression panicked.
    error panicked(payload: &(dyn Any + Send)) for "roomcast::conn" {
        panic = panic_text(payload), "handler panicked"
    }

    /// A request did not become a connection.
    debug handshake_refused(remote_addr: Option<SocketAddr>, reason: &str, status: StatusCode)
        for "roomcast::hub"
    {
        remote_addr = remote_addr.map(tracing::field::display), reason, status = status.as_u16(),
        "handshake refused"
    }

    /// A page may not connect. Shows the start of its origin, and of the host of the request.
    debug origin_refused(request: &UpgradeRequest, reason: &str) for "roomcast::hub" {
        remote_addr = request.remote_addr().map(tracing::field::display),
        origin = request.origin_start().map(tracing::field::debug),
        host = request.host_start().map(tracing::field::debug),
        reason,
        "origin refused"
    }

    /// Requests had no upgrade: `times` since the last event of this kind.
    warn upgrade_lost(hub: &str, times: u64) for "roomcast::hub" {
        hub, times,
        "the request has lost its upgrade: a layer has taken it, or has rebuilt the request without its \
         extensions"
    }

    /// A request had no address, so the limits per address have no effect. Logged once per hub.
    warn addr_unknown(hub: &str) for "roomcast::hub" {
        hub,
        "limits per address do nothing, because a request has no address: insert a `RemoteAddr` into it, or \
         serve axum with `into_make_service_with_connect_info::<SocketAddr>`"
    }

    /// Headers were left out of responses: `times` since the last event of this kind. Shows the
    /// last header.
    warn header_left_out(hub: &str, name: &HeaderName, times: u64) for "roomcast::hub" {
        hub, %name, times,
        "response header left out: it belongs to the handshake, and `on_upgrade` cannot set it"
    }

    /// Joins timed out before the subscription to their room came: `times` since the last event of
    /// this kind.
    warn not_subscribed(hub: &str, waited: Duration, times: u64) for "roomcast::hub" {
        hub, ?waited, times,
        "joined without a subscription: the backplane has not subscribed to the room in time, and messages of \
         other nodes are missed until it has"
    }

    /// Handshakes got no stream from their server: `times` since the last event of this kind.
    warn upgrades_unsupported(hub: &str, times: u64) for "roomcast::hub" {
        hub, times,
        "the server in front of the hub does not upgrade: serve its connections with `with_upgrades`"
    }

    /// A handshake was accepted, but did not become a connection.
    debug handshake_failed(remote_addr: Option<SocketAddr>) for "roomcast::hub" {
        remote_addr = remote_addr.map(tracing::field::display), "handshake failed"
    }

    /// The memory that a hub has found, and the bounds of its queues in bytes.
    debug memory(hub: &str, memory: Memory, bounds: ByteBounds) for "roomcast::hub" {
        hub,
        memory = memory.bytes,
        source = %memory.source,
        max_queued_bytes = bounds.queued,
        inbox_bytes = bounds.inbox,
        outbox_bytes = bounds.outbox,
        "memory"
    }

    /// As [`memory`], if the memory has lowered a default.
    info small_memory(hub: &str, memory: Memory, bounds: ByteBounds) for "roomcast::hub" {
        hub,
        memory = memory.bytes,
        source = %memory.source,
        max_queued_bytes = bounds.queued,
        inbox_bytes = bounds.inbox,
        outbox_bytes = bounds.outbox,
        socket_send_buffer = bounds.socket_send_buffer,
        "small memory: defaults are lower"
    }

    /// A limit of the system is too low for the settings.
    warn falls_short(hub: &str, shortfall: Shortfall) for "roomcast::hub" { hub, "{shortfall}" }

    /// The hub begins to ask clients to reconnect to other nodes.
    info shedding(hub: &str, share: f64, window: Duration) for "roomcast::hub" {
        hub, share, ?window, "shedding"
    }

    /// The hub has asked clients to reconnect to other nodes.
    info shed(hub: &str, asked: usize) for "roomcast::hub" { hub, asked, "shed" }

    /// A hub was shut down.
    info shut_down(hub: &str, report: &ShutdownReport) for "roomcast::hub" {
        hub,
        connections = report.connections,
        unfinished = report.unfinished,
        cut = report.cut,
        messages_lost = report.messages_lost,
        messages_unsent = report.messages_unsent,
        took = ?report.took,
        "hub shut down"
    }

    /// A `RoomState` panicked, `times` times since the last event of this kind. The event shows the
    /// last panic.
    error room_state_panicked(panic: &(dyn Any + Send), times: u64) for "roomcast::hub" {
        panic = panic_text(panic), times, "room state panicked"
    }
}
