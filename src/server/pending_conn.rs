//! A pending connection: it was accepted, and does not belong to a hub yet.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
#[cfg(feature = "test-util")]
use tokio::io::DuplexStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::TlsAcceptor;

use super::accepted::{Accepted, Stream};
use super::descriptors::Supply;
use super::head_timer::{HeadState, HeadTimer};
use super::proxy_header::{self, HeaderError};
use super::shared::{Peer, ServerShared};
#[cfg(feature = "tls")]
use super::tls_info::TlsInfo;
use crate::net::WriteTimeout;
use crate::runtime::deadline::{Elapsed, timeout};
#[cfg(feature = "test-util")]
use crate::ws::OpenedSignal;

/// A pending connection. It counts as pending until it belongs to a hub or has ended.
pub(super) struct PendingConn {
    server: Arc<ServerShared>,
    /// The address for which the connection counts.
    counted: Option<SocketAddr>,
    /// Whether its descriptor belongs to the reserve. Then the connection must not become a
    /// WebSocket.
    is_from_reserve: bool,
}

impl PendingConn {
    /// Serves a connection in its own task, or refuses it.
    pub(super) fn receive(server: &Arc<ServerShared>, accepted: Accepted) {
        match accepted {
            Accepted::Tcp(stream, addr) => {
                // A failure means that the client has already gone.
                let _ = stream.set_nodelay(true);
                if let Some(pending) = Self::admit(server, &stream, Some(addr)) {
                    tokio::spawn(pending.serve_tcp(stream, addr));
                }
            }
            #[cfg(unix)]
            Accepted::Unix(stream) => {
                if let Some(pending) = Self::admit(server, &stream, None) {
                    tokio::spawn(async move { pending.serve(stream, None).await });
                }
            }
        }
    }

    /// Serves a stream in memory in its own task, or drops it.
    #[cfg(feature = "test-util")]
    pub(super) fn receive_in_memory(
        server: &Arc<ServerShared>,
        stream: DuplexStream,
        addr: SocketAddr,
        opened: OpenedSignal,
    ) {
        server.monitor.0.accepted.add(1);
        let counted = server.proxies.counted(addr);
        match server.admission.begin(counted) {
            Ok(()) => {
                let pending = Self { server: server.clone(), counted, is_from_reserve: false };
                let peer = Peer { opened: Some(opened), ..Peer::new(Some(addr)) };
                tokio::spawn(async move { pending.serve_http(stream, peer).await });
            }
            Err(denied) => {
                server.count_denied(Some(addr), denied);
            }
        }
    }

    /// Counts a connection in, or refuses it.
    fn admit(
        server: &Arc<ServerShared>,
        stream: &impl Stream,
        addr: Option<SocketAddr>,
    ) -> Option<Self> {
        let supply = server.descriptors.supply(stream.number());
        if supply == Supply::Short {
            server.count_scarce(addr);
            server.refuse(stream, StatusCode::SERVICE_UNAVAILABLE);
            return None;
        }
        let counted = addr.and_then(|addr| server.proxies.counted(addr));
        match server.admission.begin(counted) {
            Ok(()) => {
                let is_from_reserve = supply == Supply::Scarce;
                Some(Self { server: server.clone(), counted, is_from_reserve })
            }
            Err(denied) => {
                server.deny(stream, addr, denied);
                None
            }
        }
    }

    async fn serve_tcp(mut self, mut stream: TcpStream, mut addr: SocketAddr) {
        if self.server.proxies.announce(addr) {
            // Boxed, so that this future does not enlarge the tasks of other connections. The same
            // holds below.
            match Box::pin(self.announced(&mut stream, addr)).await {
                Some(client) => addr = client,
                None => return,
            }
        }
        self.serve(stream, Some(addr)).await;
    }

    async fn serve<S: Stream>(&self, stream: S, addr: Option<SocketAddr>) {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.server.tls {
            return Box::pin(self.serve_tls(tls, stream, addr)).await;
        }
        self.serve_http(stream, Peer::new(addr)).await;
    }

    /// Awaits a step before the first request, for at most `time`. `None` if the server ends
    /// meanwhile, `Some(Err)` if the time is up.
    async fn in_time<F: Future>(
        &self,
        time: Duration,
        step: F,
    ) -> Option<Result<F::Output, Elapsed>> {
        tokio::select! {
            () = self.server.ending.begun() => None,
            done = timeout(time, step) => Some(done),
        }
    }

    /// Reads the header of the PROXY protocol. Returns the address of the client that it names, or
    /// of the proxy if the proxy speaks for itself. `None` if the connection was refused.
    async fn announced(&mut self, stream: &mut TcpStream, proxy: SocketAddr) -> Option<SocketAddr> {
        let server = &self.server;
        match self.in_time(server.limits.head_timeout, proxy_header::read(stream)).await? {
            Ok(Ok(None)) => return Some(proxy),
            Ok(Ok(Some(client))) => {
                let counted = server.proxies.counted(client);
                match server.admission.identify(counted) {
                    Ok(()) => {
                        self.counted = counted;
                        return Some(client);
                    }
                    Err(denied) => server.deny(stream, Some(client), denied),
                }
            }
            Ok(Err(HeaderError::Gone)) => {}
            Ok(Err(HeaderError::Malformed)) => {
                server.count_rejected(Some(proxy), "proxy", |counters| {
                    &counters.proxy_headers_malformed
                });
            }
            Err(_) => {
                server.count_rejected(Some(proxy), "proxy_timeout", |counters| {
                    &counters.proxy_headers_timed_out
                });
            }
        }
        None
    }

    #[cfg(feature = "tls")]
    async fn serve_tls<S: Stream>(&self, tls: &TlsAcceptor, stream: S, addr: Option<SocketAddr>) {
        let server = &self.server;
        let accepted = self.in_time(server.limits.tls_timeout, tls.accept(stream)).await;
        let Some(accepted) = accepted else { return };
        match accepted {
            Ok(Ok(stream)) => {
                let tls = Some(TlsInfo::of(stream.get_ref().1));
                self.serve_http(stream, Peer { tls, ..Peer::new(addr) }).await;
            }
            Ok(Err(_)) => server.count_rejected(addr, "tls", |counters| &counters.tls_failed),
            Err(_) => {
                server.count_rejected(addr, "tls_timeout", |counters| &counters.tls_timed_out)
            }
        }
    }

    async fn serve_http<S>(&self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let heads = Arc::new(HeadState::default());
        let service = service_fn(|request| {
            heads.note(&request);
            let response = self.server.answer(request, &peer, self.is_from_reserve);
            async move { Ok::<_, Infallible>(response.await) }
        });
        let limits = &self.server.limits;
        let stream = WriteTimeout::new(stream, limits.write_timeout, heads.reads.clone());
        let connection = http1::Builder::new()
            .timer(HeadTimer { server: self.server.clone(), heads: heads.clone() })
            // hyper uses the timer only if a timeout is set. The timer has timeouts of its own.
            .header_read_timeout(limits.head_timeout)
            .title_case_headers(self.server.title_case.is_some())
            .keep_alive(!limits.keep_alive_timeout.is_zero() && !self.is_from_reserve)
            .max_buf_size(limits.head_bytes_max)
            .max_headers(limits.headers_max)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let mut server_ends = pin!(self.server.ending.begun().fuse());
        let served = poll_fn(|cx| {
            let served = connection.as_mut().poll(cx);
            // `server_ends` is ready only once, which is enough: hyper remembers the graceful
            // shutdown.
            let is_over = heads.is_idle_over() || server_ends.as_mut().poll(cx).is_ready();
            if served.is_ready() || !is_over {
                return served;
            }
            // With TLS, this also sends the `close_notify`: the client knows that nothing is
            // missing.
            connection.as_mut().graceful_shutdown();
            connection.as_mut().poll(cx)
        });
        // A failure before the upgrade concerns only this client.
        match served.await {
            Ok(()) if heads.is_idle_over() => self.server.monitor.0.keep_alives_timed_out.add(1),
            Ok(()) => {}
            Err(error) => self.server.count_failure(peer.addr, &error),
        }
    }
}

impl Drop for PendingConn {
    fn drop(&mut self) {
        self.server.admission.end_handshake();
        if self.server.admission.end(self.counted) {
            self.server.ending.notify_none_left();
        }
    }
}
