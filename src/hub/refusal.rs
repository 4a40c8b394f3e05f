//! Refused handshakes: for each reason, the response and the counter.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use super::Reject;
use super::stats::HubCounters;
use crate::engine::{Counter, JoinError};
use crate::net::Denied;
use crate::ws;
use crate::ws::{ComeBack, NoUpgrade, Objection, Response};

/// The reason why a request does not become a connection.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The request is not a valid handshake.
    Malformed(Objection),
    /// The page that sent the request may not connect, for this reason.
    Origin(&'static str),
    /// The request has no upgrade, or the client has gone away.
    NoUpgrade(NoUpgrade),
    /// There are too many connections or handshakes, in all or from this address.
    Denied(Denied),
    /// The hub is closing.
    Closing,
    /// The handler took too long.
    TimedOut,
    /// The handler has refused the request.
    Handler(Reject),
    /// The connection cannot join the rooms that the handler has named.
    Rooms(JoinError),
    /// The handler panicked.
    Panicked,
}

impl Refusal {
    pub(super) fn counter<'a>(&self, counters: &'a HubCounters) -> &'a Counter {
        match self {
            Self::Malformed(_) => &counters.refused_malformed,
            Self::Origin(_) => &counters.refused_origins,
            Self::NoUpgrade(NoUpgrade::Lost) => &counters.refused_without_upgrade,
            Self::NoUpgrade(NoUpgrade::Gone) | Self::TimedOut => &counters.upgrades_failed,
            Self::Denied(Denied::Full) => &counters.refused_full,
            Self::Denied(Denied::Addr(_)) => &counters.refused_addrs,
            Self::Closing => &counters.refused_closing,
            Self::Handler(_) => &counters.refused_by_handler,
            Self::Rooms(_) => &counters.refused_for_rooms,
            Self::Panicked => &counters.handler_panics,
        }
    }

    /// The reason, for the log. If the hub itself refuses, most responses also have it as their
    /// text.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(objection) => objection.reason,
            Self::Origin(reason) => reason,
            Self::NoUpgrade(NoUpgrade::Lost) => "request without its upgrade",
            Self::NoUpgrade(NoUpgrade::Gone) => "client gone",
            Self::Denied(Denied::Full) => "too many connections",
            Self::Denied(Denied::Addr(_)) => "too many connections of this address",
            Self::Closing => "hub closed",
            Self::TimedOut => "handshake took too long",
            Self::Handler(_) => "refused by the handler",
            Self::Rooms(JoinError::NameTooLong { .. }) => "room name too long",
            Self::Rooms(JoinError::TooManyRooms { .. }) => "too many rooms",
            Self::Rooms(_) => "no more rooms",
            Self::Panicked => "internal error",
        }
    }

    /// The response, with `Retry-After` where a later try may succeed.
    pub(super) fn into_response(self, come_back: &ComeBack) -> Response {
        let reason = self.reason();
        match self {
            Self::Malformed(objection) => objection.into_response(),
            Self::Handler(reject) => reject.into_response(),
            Self::Rooms(JoinError::NameTooLong { .. } | JoinError::TooManyRooms { .. }) => {
                ws::refusal(StatusCode::BAD_REQUEST, reason)
            }
            // The same text for all reasons.
            Self::Origin(_) => ws::refusal(StatusCode::FORBIDDEN, "origin not allowed"),
            Self::NoUpgrade(NoUpgrade::Lost) | Self::Panicked => {
                ws::refusal(StatusCode::INTERNAL_SERVER_ERROR, reason)
            }
            Self::Denied(Denied::Addr(wait)) => {
                let seconds = wait.map_or_else(|| come_back.next(), whole_seconds);
                come_back_in(seconds, StatusCode::TOO_MANY_REQUESTS, reason)
            }
            Self::Denied(Denied::Full)
            | Self::Rooms(_)
            | Self::NoUpgrade(NoUpgrade::Gone)
            | Self::Closing
            | Self::TimedOut => {
                come_back_in(come_back.next(), StatusCode::SERVICE_UNAVAILABLE, reason)
            }
        }
    }
}

fn come_back_in(seconds: u64, status: StatusCode, text: &'static str) -> Response {
    let mut response = ws::refusal(status, text);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs_f64().ceil() as u64
}
