//! The way of a connection from its acceptance until it is one of a hub.

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::http::Extensions;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::TlsAcceptor;

use super::events;
use super::heads::{HeadTimer, Heads};
use super::limits::Limits;
use super::monitor::{Counters, ServerMonitor};
use super::proxies::Proxies;
use super::proxy_header::{self, HeaderError};
use super::routes::{AnyResponse, Routes, any_body};
#[cfg(feature = "tls")]
use super::tls_info::TlsInfo;
use crate::engine::Counter;
use crate::patience::timeout;
use crate::transport::{Admission, ComeBack, Denied, Patient, refusal};

/// What the connections of a server share.
pub(super) struct Front {
    pub(super) routes: Routes,
    pub(super) limits: Limits,
    pub(super) proxies: Proxies,
    pub(super) title_case: Option<Extensions>,
    /// Connections that are pending.
    pub(super) admission: Admission,
    pub(super) come_back: ComeBack,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) monitor: ServerMonitor,
}

impl Front {
    /// Serves a connection in a task of its own, or refuses it.
    pub(super) fn receive(self: &Arc<Self>, stream: TcpStream, addr: SocketAddr) {
        let counted = self.proxies.counted(addr);
        match self.admission.begin(counted) {
            Ok(()) => {
                let pending = Pending { front: self.clone(), counted };
                tokio::spawn(async move { pending.serve(stream, addr).await });
            }
            Err(denied) => self.deny(&stream, addr, denied),
        }
    }

    fn deny(&self, stream: &TcpStream, addr: SocketAddr, denied: Denied) {
        match denied {
            Denied::Full => {
                self.reject(addr, "full", |counters| &counters.refused_full);
                self.refuse(stream, StatusCode::SERVICE_UNAVAILABLE);
            }
            Denied::Addr(_) => {
                self.reject(addr, "address", |counters| &counters.refused_addrs);
                self.refuse(stream, StatusCode::TOO_MANY_REQUESTS);
            }
        }
    }

    /// Counts what is refused, and tells of it. The reasons are those of the metrics.
    fn reject(&self, addr: SocketAddr, reason: &str, counter: impl Fn(&Counters) -> &Counter) {
        counter(&self.monitor.0).add(1);
        events::rejected(addr, reason);
    }

    /// Answers without a look at the request: what costs nothing cannot be exhausted. Through TLS, an
    /// answer would cost a handshake.
    fn refuse(&self, stream: &TcpStream, status: StatusCode) {
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
        // A new socket has room for it. Whoever has gone needs no answer.
        let _ = stream.try_write(answer.as_bytes());
    }

    fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: &Peer,
    ) -> impl Future<Output = AnyResponse> + Send + use<> {
        let path_and_query = request.uri().path_and_query().map_or("", |path| path.as_str());
        let is_short = path_and_query.len() <= self.limits.uri_bytes_max;
        let response = is_short.then(|| {
            self.introduce(&mut request, peer);
            self.routes.dispatch(request)
        });
        if response.is_none() {
            self.reject(peer.addr, "uri_too_long", |counters| &counters.uris_too_long);
        }
        let title_case = self.title_case.clone();
        async move {
            let mut response = match response {
                Some(response) => response.await,
                None => refusal(StatusCode::URI_TOO_LONG, "path and query too long").map(any_body),
            };
            if let Some(title_case) = title_case {
                response.extensions_mut().extend(title_case);
            }
            response
        }
    }

    /// Tells in the request who sends it.
    fn introduce(&self, request: &mut Request<Incoming>, peer: &Peer) {
        let (client, is_unnamed) = self.proxies.client(request, peer.addr);
        if is_unnamed {
            self.monitor.0.clients_unnamed.add(1);
        }
        request.extensions_mut().insert(client);
        #[cfg(feature = "tls")]
        if let Some(tls) = &peer.tls {
            request.extensions_mut().insert(tls.clone());
        }
    }

    /// How long a connection may be idle. Idle connections must not keep new ones out.
    pub(super) fn idle_timeout(&self) -> Duration {
        let Limits { head_timeout, keep_alive_timeout, pending, .. } = &self.limits;
        if self.admission.connections() > pending.connections_max / 2 {
            return *keep_alive_timeout.min(head_timeout);
        }
        *keep_alive_timeout
    }

    fn count(&self, addr: SocketAddr, error: &hyper::Error) {
        if error.is_timeout() {
            self.reject(addr, "head_timeout", |counters| &counters.heads_timed_out);
        } else if error.is_parse_too_large() {
            self.reject(addr, "head_too_large", |counters| &counters.heads_too_large);
        } else if error.is_parse() {
            self.reject(addr, "malformed", |counters| &counters.malformed);
        } else if is_stall(error) {
            self.reject(addr, "response_stalled", |counters| &counters.responses_stalled);
        }
    }
}

/// Whether a write did not get on.
fn is_stall(error: &hyper::Error) -> bool {
    let error = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    error.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// The other end of a connection, behind proxies that speak the PROXY protocol.
struct Peer {
    addr: SocketAddr,
    #[cfg(feature = "tls")]
    tls: Option<TlsInfo>,
}

/// A connection that is not a hub's; counts as pending until it is, or has ended.
struct Pending {
    front: Arc<Front>,
    /// The address that it counts for.
    counted: Option<SocketAddr>,
}

impl Pending {
    async fn serve(mut self, mut stream: TcpStream, mut addr: SocketAddr) {
        // A failure means that the client is gone already.
        let _ = stream.set_nodelay(true);
        if self.front.proxies.announce(addr) {
            // Boxed, so that the task of other connections is not as large; as below.
            match Box::pin(self.announced(&mut stream, addr)).await {
                Some(client) => addr = client,
                None => return,
            }
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.front.tls {
            return Box::pin(self.serve_tls(tls, stream, addr)).await;
        }
        let peer = Peer {
            addr,
            #[cfg(feature = "tls")]
            tls: None,
        };
        self.serve_http(stream, peer).await;
    }

    /// The address of the client that a proxy announces, or of the proxy where it speaks for itself. `None` if the
    /// connection was refused.
    async fn announced(&mut self, stream: &mut TcpStream, proxy: SocketAddr) -> Option<SocketAddr> {
        let front = &self.front;
        match timeout(front.limits.head_timeout, proxy_header::read(stream)).await {
            Ok(Ok(None)) => return Some(proxy),
            Ok(Ok(Some(client))) => {
                let counted = front.proxies.counted(client);
                match front.admission.identify(counted) {
                    Ok(()) => {
                        self.counted = counted;
                        return Some(client);
                    }
                    Err(denied) => front.deny(stream, client, denied),
                }
            }
            Ok(Err(HeaderError::Gone)) => {}
            Ok(Err(HeaderError::Malformed)) => {
                front.reject(proxy, "proxy", |counters| &counters.proxy_headers_malformed);
            }
            Err(_) => {
                front.reject(proxy, "proxy_timeout", |counters| &counters.proxy_headers_timed_out);
            }
        }
        None
    }

    #[cfg(feature = "tls")]
    async fn serve_tls(&self, tls: &TlsAcceptor, stream: TcpStream, addr: SocketAddr) {
        let front = &self.front;
        match timeout(front.limits.tls_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let tls = Some(TlsInfo::of(stream.get_ref().1));
                self.serve_http(stream, Peer { addr, tls }).await;
            }
            Ok(Err(_)) => front.reject(addr, "tls", |counters| &counters.tls_failed),
            Err(_) => front.reject(addr, "tls_timeout", |counters| &counters.tls_timed_out),
        }
    }

    async fn serve_http<S>(&self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let heads = Arc::new(Heads::default());
        let service = service_fn(|request| {
            heads.note(&request);
            let response = self.front.answer(request, &peer);
            async move { Ok::<_, Infallible>(response.await) }
        });
        let limits = &self.front.limits;
        let stream = Patient::new(stream, limits.write_timeout, heads.received.clone());
        let connection = http1::Builder::new()
            .timer(HeadTimer { front: self.front.clone(), heads: heads.clone() })
            // hyper uses the timer only if it is told a length. The timer has lengths of its own.
            .header_read_timeout(limits.head_timeout)
            .title_case_headers(self.front.title_case.is_some())
            .keep_alive(!limits.keep_alive_timeout.is_zero())
            .max_buf_size(limits.head_bytes_max)
            .max_headers(limits.headers_max)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let served = poll_fn(|cx| {
            let served = connection.as_mut().poll(cx);
            if served.is_ready() || !heads.is_idle_over() {
                return served;
            }
            // Over TLS, this also tells the client that nothing is missing.
            connection.as_mut().graceful_shutdown();
            connection.as_mut().poll(cx)
        });
        // What goes wrong before an upgrade concerns nobody but this client.
        match served.await {
            Ok(()) if heads.is_idle_over() => self.front.monitor.0.keep_alives_timed_out.add(1),
            Ok(()) => {}
            Err(error) => self.front.count(peer.addr, &error),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.front.admission.end_handshake();
        self.front.admission.end(self.counted);
    }
}
