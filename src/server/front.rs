//! What happens to a connection that was accepted, until it is one of a hub.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{Either, ready, select};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(feature = "tls")]
use tokio_rustls::TlsAcceptor;

use super::accepted::{Accepted, Stream};
use super::descriptors::{Descriptors, Supply};
use super::ending::Ending;
use super::events;
use super::limits::Limits;
use super::monitor::ServerMonitor;
use super::routes::{AnyResponse, Routes, any_body};
use crate::patience::PatientTimer;
#[cfg(feature = "tls")]
use crate::patience::timeout;
use crate::telemetry::Throttle;
use crate::transport::{Admission, ComeBack, Denied, Patient, RemoteAddr, refusal};

/// What the connections of a server share.
pub(super) struct Front {
    pub(super) routes: Routes,
    pub(super) limits: Limits,
    /// Connections that are pending.
    pub(super) admission: Admission,
    pub(super) come_back: ComeBack,
    pub(super) descriptors: Descriptors,
    /// Refusals for want of descriptors, not told yet.
    pub(super) scarce: Mutex<Throttle>,
    pub(super) ending: Ending,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) monitor: ServerMonitor,
}

impl Front {
    /// Serves a connection in a task of its own, or refuses it.
    pub(super) fn receive(self: &Arc<Self>, accepted: Accepted) {
        match accepted {
            Accepted::Tcp(stream, addr) => {
                // A failure means that the client is gone already.
                let _ = stream.set_nodelay(true);
                self.receive_stream(stream, Some(addr));
            }
            #[cfg(unix)]
            Accepted::Unix(stream) => self.receive_stream(stream, None),
        }
    }

    fn receive_stream<S: Stream>(self: &Arc<Self>, stream: S, addr: Option<SocketAddr>) {
        let supply = self.descriptors.supply(stream.number());
        if supply == Supply::Short {
            self.count_scarce();
            return self.refuse(&stream, StatusCode::SERVICE_UNAVAILABLE);
        }
        match self.admission.begin(addr) {
            Ok(()) => {
                let is_brief = supply == Supply::Scarce;
                let pending = Pending { front: self.clone(), addr, is_brief };
                tokio::spawn(async move { pending.serve(stream).await });
            }
            Err(Denied::Full) => {
                self.monitor.0.refused_full.add(1);
                self.refuse(&stream, StatusCode::SERVICE_UNAVAILABLE);
            }
            Err(Denied::Addr(_)) => {
                self.monitor.0.refused_addrs.add(1);
                self.refuse(&stream, StatusCode::TOO_MANY_REQUESTS);
            }
        }
    }

    /// Answers without a look at the request: what costs nothing cannot be exhausted. Through TLS, an
    /// answer would cost a handshake.
    fn refuse(&self, stream: &impl Stream, status: StatusCode) {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return;
        }
        let seconds = self.come_back.next();
        let answer = format!(
            "HTTP/1.1 {status}\r\nretry-after: {seconds}\r\nconnection: close\r\n\
             content-length: 0\r\n\r\n"
        );
        stream.answer_unread(answer.as_bytes());
    }

    fn answer(
        &self,
        mut request: Request<Incoming>,
        addr: Option<SocketAddr>,
        is_brief: bool,
    ) -> impl Future<Output = AnyResponse> + Send + use<> {
        match self.objection(&request, is_brief) {
            Some(response) => Either::Left(ready(response)),
            None => {
                addr.map(|addr| request.extensions_mut().insert(RemoteAddr(addr)));
                Either::Right(self.routes.dispatch(request))
            }
        }
    }

    /// The answer to a request that no route is to see.
    fn objection(&self, request: &Request<Incoming>, is_brief: bool) -> Option<AnyResponse> {
        let path_and_query = request.uri().path_and_query().map_or("", |path| path.as_str());
        if path_and_query.len() > self.limits.uri_bytes_max {
            self.monitor.0.uris_too_long.add(1);
            let response = refusal(StatusCode::URI_TOO_LONG, "path and query too long");
            return Some(response.map(any_body));
        }
        if is_brief && request.headers().contains_key(header::UPGRADE) {
            self.count_scarce();
            let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "too many connections");
            let seconds = HeaderValue::from(self.come_back.next());
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
            return Some(response.map(any_body));
        }
        None
    }

    fn count_scarce(&self) {
        self.monitor.0.refused_descriptors.add(1);
        let refused = self.scarce.lock().unwrap_or_else(PoisonError::into_inner).add(1);
        if let Some(refused) = refused {
            events::descriptors_scarce(refused);
        }
    }

    fn count(&self, error: &hyper::Error) {
        let counters = &self.monitor.0;
        if error.is_timeout() {
            counters.heads_timed_out.add(1);
        } else if error.is_parse_too_large() {
            counters.heads_too_large.add(1);
        } else if error.is_parse() {
            counters.malformed.add(1);
        } else if is_stall(error) {
            counters.responses_stalled.add(1);
        }
    }
}

/// Whether a write did not get on.
fn is_stall(error: &hyper::Error) -> bool {
    let error = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    error.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// A connection that is not a hub's; counts as pending until it is, or has ended.
struct Pending {
    front: Arc<Front>,
    addr: Option<SocketAddr>,
    /// Whether its descriptor is one of the reserve, so that it is not to become a WebSocket.
    is_brief: bool,
}

impl Pending {
    async fn serve<S: Stream>(&self, stream: S) {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.front.tls {
            // Boxed, so that the task of a connection without TLS is not as large.
            return Box::pin(self.serve_tls(tls, stream)).await;
        }
        self.serve_http(stream).await;
    }

    #[cfg(feature = "tls")]
    async fn serve_tls<S: Stream>(&self, tls: &TlsAcceptor, stream: S) {
        let counters = &self.front.monitor.0;
        match timeout(self.front.limits.tls_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve_http(stream).await,
            Ok(Err(_)) => counters.tls_failed.add(1),
            Err(_) => counters.tls_timed_out.add(1),
        }
    }

    async fn serve_http<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request| {
            let response = self.front.answer(request, self.addr, self.is_brief);
            async move { Ok::<_, Infallible>(response.await) }
        });
        let limits = &self.front.limits;
        // The limit of time works only with a timer.
        let connection = http1::Builder::new()
            .timer(PatientTimer)
            .keep_alive(!self.is_brief)
            .header_read_timeout(limits.head_timeout)
            .max_buf_size(limits.head_bytes_max)
            .max_headers(limits.headers_max)
            .serve_connection(TokioIo::new(Patient::new(stream, limits.write_timeout)), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let begun = pin!(self.front.ending.begun());
        let served = match select(connection.as_mut(), begun).await {
            Either::Left((served, _)) => served,
            Either::Right(_) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        // What goes wrong before an upgrade concerns nobody but this client.
        if let Err(error) = served {
            self.front.count(&error);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.front.admission.end_handshake();
        if self.front.admission.end(self.addr) {
            self.front.ending.ring();
        }
    }
}
