//! The state that the connections of a server share, with the admission of connections and the
//! answers to requests.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, ready};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::Extensions;
use hyper::{Request, StatusCode};
#[cfg(feature = "tls")]
use tokio_rustls::TlsAcceptor;

use super::accepted::Stream;
use super::descriptors::Descriptors;
use super::ending::Ending;
use super::events;
use super::limits::Limits;
use super::monitor::{Counters, ServerMonitor};
use super::proxies::Proxies;
use super::routes::{AnyResponse, Routes, any_body};
#[cfg(feature = "tls")]
use super::tls_info::TlsInfo;
use crate::engine::Counter;
use crate::net::{Admission, Denied};
use crate::telemetry::Throttle;
#[cfg(feature = "test-util")]
use crate::ws::OpenedSignal;
use crate::ws::{ComeBack, has_token, refusal};

/// The state that the connections of a server share.
pub(super) struct ServerShared {
    pub(super) routes: Routes,
    pub(super) limits: Limits,
    pub(super) proxies: Proxies,
    pub(super) title_case: Option<Extensions>,
    /// The admission of pending connections: those that have not become WebSockets.
    pub(super) admission: Admission,
    pub(super) come_back: ComeBack,
    pub(super) descriptors: Descriptors,
    /// Counts refusals for want of descriptors until the next event.
    pub(super) scarce: Mutex<Throttle>,
    pub(super) ending: Ending,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) monitor: ServerMonitor,
}

/// The other end of a connection. If a proxy speaks the PROXY protocol, this is the client behind
/// it.
pub(super) struct Peer {
    /// `None` over a Unix socket.
    pub(super) addr: Option<SocketAddr>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsInfo>,
    /// The signal for a test client.
    #[cfg(feature = "test-util")]
    pub(super) opened: Option<OpenedSignal>,
}

impl Peer {
    pub(super) fn new(addr: Option<SocketAddr>) -> Self {
        Self {
            addr,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "test-util")]
            opened: None,
        }
    }
}

impl ServerShared {
    /// Counts and refuses a connection that is not admitted.
    pub(super) fn deny(&self, stream: &impl Stream, addr: Option<SocketAddr>, denied: Denied) {
        let status = self.count_denied(addr, denied);
        self.refuse(stream, status);
    }

    /// Counts a connection that is not admitted. Returns the status of its refusal.
    pub(super) fn count_denied(&self, addr: Option<SocketAddr>, denied: Denied) -> StatusCode {
        match denied {
            Denied::Full => {
                self.count_rejected(addr, "full", |counters| &counters.refused_full);
                StatusCode::SERVICE_UNAVAILABLE
            }
            Denied::Addr(_) => {
                self.count_rejected(addr, "address", |counters| &counters.refused_addrs);
                StatusCode::TOO_MANY_REQUESTS
            }
        }
    }

    /// Counts a client that is refused because few descriptors are left.
    pub(super) fn count_scarce(&self, addr: Option<SocketAddr>) {
        self.count_rejected(addr, "descriptors", |counters| &counters.refused_descriptors);
        let refused = self.scarce.lock().unwrap_or_else(PoisonError::into_inner).add(1);
        if let Some(refused) = refused {
            events::descriptors_scarce(refused);
        }
    }

    /// Counts a refusal, and logs an event. The reasons are those of the metrics.
    pub(super) fn count_rejected(
        &self,
        addr: Option<SocketAddr>,
        reason: &str,
        counter: impl Fn(&Counters) -> &Counter,
    ) {
        counter(&self.monitor.0).add(1);
        events::rejected(addr, reason);
    }

    /// Answers without parsing the request, so that a refusal costs almost nothing. With TLS, sends
    /// no answer: it would cost a handshake.
    pub(super) fn refuse(&self, stream: &impl Stream, status: StatusCode) {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return;
        }
        let seconds = self.come_back.next();
        let [retry_after, connection, content_length] = match self.title_case {
            None => ["retry-after", "connection", "content-length"],
            Some(_) => ["Retry-After", "Connection", "Content-Length"],
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\n{retry_after}: {seconds}\r\n{connection}: close\r\n\
             {content_length}: 0\r\n\r\n"
        );
        stream.drain_and_answer(answer.as_bytes());
    }

    /// Answers a request, by a refusal or by its route. A connection whose descriptor
    /// `is_from_reserve` must not become a WebSocket.
    pub(super) fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: &Peer,
        is_from_reserve: bool,
    ) -> impl Future<Output = AnyResponse> + Send + use<> {
        let response = match self.objection(&request, peer, is_from_reserve) {
            Some(response) => Either::Left(ready(response)),
            None => {
                self.introduce(&mut request, peer);
                Either::Right(self.routes.dispatch(request))
            }
        };
        let title_case = self.title_case.clone();
        async move {
            let mut response = response.await;
            if let Some(title_case) = title_case {
                response.extensions_mut().extend(title_case);
            }
            response
        }
    }

    /// Returns the response to a request that is refused before any route sees it.
    fn objection(
        &self,
        request: &Request<Incoming>,
        peer: &Peer,
        is_from_reserve: bool,
    ) -> Option<AnyResponse> {
        let path_and_query = request.uri().path_and_query().map_or("", |path| path.as_str());
        if path_and_query.len() > self.limits.uri_bytes_max {
            self.count_rejected(peer.addr, "uri_too_long", |counters| &counters.uris_too_long);
            let response = refusal(StatusCode::URI_TOO_LONG, "path and query too long");
            return Some(response.map(any_body));
        }
        if is_from_reserve && has_token(request.headers(), header::UPGRADE, "websocket") {
            self.count_scarce(peer.addr);
            let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "too many connections");
            let seconds = HeaderValue::from(self.come_back.next());
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
            return Some(response.map(any_body));
        }
        None
    }

    /// Inserts the facts about the client into the extensions of the request.
    fn introduce(&self, request: &mut Request<Incoming>, peer: &Peer) {
        let (client, is_unnamed) = self.proxies.client(request, peer.addr);
        if is_unnamed {
            self.monitor.0.clients_unnamed.add(1);
        }
        client.map(|client| request.extensions_mut().insert(client));
        #[cfg(feature = "tls")]
        if let Some(tls) = &peer.tls {
            request.extensions_mut().insert(tls.clone());
        }
        #[cfg(feature = "test-util")]
        if let Some(opened) = &peer.opened {
            opened.clone().attach(request.extensions_mut());
        }
    }

    /// Returns how long a connection may be idle. Idle connections must not keep new connections
    /// out.
    pub(super) fn idle_timeout(&self) -> Duration {
        let Limits { head_timeout, keep_alive_timeout, pending, .. } = &self.limits;
        if self.admission.connections() > pending.connections_max / 2 {
            return *keep_alive_timeout.min(head_timeout);
        }
        *keep_alive_timeout
    }

    /// Counts a connection that hyper has ended with an error.
    pub(super) fn count_failure(&self, addr: Option<SocketAddr>, error: &hyper::Error) {
        if error.is_timeout() {
            self.count_rejected(addr, "head_timeout", |counters| &counters.heads_timed_out);
        } else if error.is_parse_too_large() {
            self.count_rejected(addr, "head_too_large", |counters| &counters.heads_too_large);
        } else if error.is_parse() {
            self.count_rejected(addr, "malformed", |counters| &counters.malformed);
        } else if is_stall(error) {
            self.count_rejected(addr, "response_stalled", |counters| &counters.responses_stalled);
        }
    }
}

/// Whether a write timed out.
fn is_stall(error: &hyper::Error) -> bool {
    let error = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    error.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}
