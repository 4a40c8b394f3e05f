//! A small HTTP/1.1 server: routes, a fallback, and an accept loop that does not give up.

mod events;
mod front;
mod heads;
mod limits;
#[cfg(feature = "metrics")]
mod metrics;
mod monitor;
mod proxies;
mod proxy_header;
mod routes;
mod title_case;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_info;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::http::Extensions;
use hyper::service::Service;
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpSocket, ToSocketAddrs, lookup_host};
#[cfg(feature = "tls")]
use tokio_rustls::TlsAcceptor;

use self::front::Front;
use self::limits::Limits;
pub use self::monitor::{ServerMonitor, ServerStats};
use self::proxies::Proxies;
use self::routes::{BoxError, Routes, erase};
#[cfg(feature = "tls")]
pub use self::tls::{Tls, TlsError};
#[cfg(feature = "tls")]
pub use self::tls_info::TlsInfo;
use crate::telemetry::Throttle;
use crate::transport::{Admission, ComeBack};

/// Connections that the kernel holds ready to be accepted; it may hold fewer
/// (`net.core.somaxconn`, 4,096 by default).
const BACKLOG: u32 = 4_096;

/// The first and the longest pause after a failed `accept`, as when no descriptor is left.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// A server could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address could not be resolved or bound.
    #[error("cannot listen")]
    Bind(#[from] io::Error),
    /// A route is malformed, or collides with another.
    #[error("route {path:?} not added")]
    Route {
        /// The path.
        path: String,
        /// What is wrong with it.
        source: matchit::InsertError,
    },
}

/// A small HTTP/1.1 server to put hubs behind.
///
/// Any hyper service can be a route; a hub becomes one by [`Hub::handle`](crate::Hub::handle).
/// Sockets get `TCP_NODELAY`. What clients may do before they come to a hub is bounded, and counted
/// ([`monitor`](Self::monitor)). An `accept` that fails is tried again after a pause of 5 ms to 1 s: the
/// server outlives running out of descriptors.
///
/// # Examples
/// ```no_run
/// use roomcast::{Hub, Server};
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::<String>::new();
/// let echo = hub.handlers().on_message(|conn, message| async move {
///     let _ = conn.send(&message);
/// });
/// let server = Server::bind("127.0.0.1:0").await?.route("/ws/{room}", hub.handle(echo))?;
/// println!("listening on {}", server.local_addr()?);
/// server.run().await;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    listener: TcpListener,
    routes: Routes,
    limits: Limits,
    proxies: Proxies,
    /// For the names of headers, where they are not in lower case.
    title_case: Option<Extensions>,
    #[cfg(feature = "tls")]
    tls: Option<TlsAcceptor>,
    monitor: ServerMonitor,
}

impl Server {
    /// Listens on the first address that can be bound. Port 0 lets the system choose: ask
    /// [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    /// When no address can be resolved and bound.
    pub async fn bind(addr: impl ToSocketAddrs) -> Result<Self, ServerError> {
        let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        for addr in lookup_host(addr).await? {
            match listen(addr) {
                Ok(listener) => return Ok(Self::from_listener(listener)),
                Err(error) => failure = error,
            }
        }
        Err(failure.into())
    }

    /// Serves a listener that was made elsewhere.
    pub fn from_listener(listener: TcpListener) -> Self {
        let monitor = ServerMonitor::new(listener.local_addr().ok());
        Self {
            listener,
            routes: Routes::default(),
            limits: Limits::default(),
            proxies: Proxies::default(),
            title_case: None,
            #[cfg(feature = "tls")]
            tls: None,
            monitor,
        }
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Adds a route. `{name}` in the path is a parameter, a whole segment or a part of one, and
    /// `{*name}` is the rest of the path; the service finds them, percent-decoded, as
    /// [`PathParams`](crate::PathParams) in the request's extensions.
    ///
    /// # Errors
    /// When the path is malformed or collides with another route.
    pub fn route<S, B>(mut self, path: &str, service: S) -> Result<Self, ServerError>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match self.routes.router.insert(path, erase(service)) {
            Ok(()) => Ok(self),
            Err(source) => Err(ServerError::Route { path: path.to_owned(), source }),
        }
    }

    /// Sets the service for requests that no route matches. Without one they get 404.
    pub fn fallback<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.routes.fallback = erase(service);
        self
    }

    /// Serves HTTPS and `wss://` with this certificate, and nothing else.
    ///
    /// A client costs more with it: see [`docs::mounting`](crate::docs).
    #[cfg(feature = "tls")]
    pub fn tls(self, tls: &Tls) -> Self {
        self.tls_config(tls.config())
    }

    /// As [`tls`](Self::tls), with a configuration of your own, as for client certificates. Its ALPN
    /// protocols are replaced: this server speaks HTTP/1.1.
    #[cfg(feature = "tls")]
    pub fn tls_config(mut self, config: &Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(tls::acceptor(config));
        self
    }

    /// Tells what is counted, also while the server runs.
    pub fn monitor(&self) -> ServerMonitor {
        self.monitor.clone()
    }

    /// Serves for ever.
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting. Connections that were accepted go on.
    pub async fn run(self) {
        let front = Arc::new(Front {
            routes: self.routes,
            admission: Admission::new(self.limits.pending),
            come_back: ComeBack::default(),
            limits: self.limits,
            proxies: self.proxies,
            title_case: self.title_case,
            #[cfg(feature = "tls")]
            tls: self.tls,
            monitor: self.monitor,
        });
        #[cfg(feature = "metrics")]
        let _reporting = metrics::report(front.monitor.clone());
        let counters = front.monitor.0.clone();
        let mut pause = ACCEPT_PAUSE.0;
        let mut failures = Throttle::default();
        loop {
            match self.listener.accept().await {
                Ok((stream, addr)) => {
                    pause = ACCEPT_PAUSE.0;
                    counters.accepted.add(1);
                    front.receive(stream, addr);
                }
                // The client was gone before it was accepted: the next one may be waiting.
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    counters.accept_failures.add(1);
                    if let Some(failures) = failures.add(1) {
                        events::accept_failed(&error, failures);
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE.1);
                }
            }
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listener", &self.listener).finish_non_exhaustive()
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As the standard library's listener does: a restart must not wait for old connections.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
