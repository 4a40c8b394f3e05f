//! A small HTTP/1.1 server: routes, a fallback, and an accept loop that goes on after errors.
//!
//! The way of a connection: [`listening`] and [`running`] accept it, [`pending_conn`] serves its
//! requests with the state in [`shared`], and [`routes`] finds the service, which may be a hub
//! ([`mounted_hubs`]). The server knows hubs, [`net`](crate::net) and [`ws`](crate::ws), and none
//! of them knows the server.

mod accepted;
mod descriptors;
mod ending;
mod events;
mod head_timer;
#[cfg(feature = "test-util")]
mod in_memory;
mod limits;
mod listening;
#[cfg(feature = "metrics")]
mod metrics;
mod monitor;
mod mounted_hubs;
mod pending_conn;
mod proxies;
mod proxy_header;
mod routes;
mod running;
mod shared;
mod signal;
mod title_case;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_info;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::http::Extensions;
use hyper::service::Service;
use hyper::{Request, Response};
#[cfg(feature = "tls")]
use tokio_rustls::TlsAcceptor;

use self::descriptors::Descriptors;
use self::ending::Ending;
#[cfg(feature = "test-util")]
pub(crate) use self::in_memory::InMemory;
use self::limits::Limits;
pub use self::listening::Listener;
pub use self::monitor::{ServerMonitor, ServerStats};
use self::mounted_hubs::MountedHubs;
use self::proxies::Proxies;
use self::routes::{BoxError, Routes, erase};
use self::shared::ServerShared;
pub use self::signal::shutdown_signal;
#[cfg(feature = "tls")]
pub use self::tls::{Tls, TlsError};
#[cfg(feature = "tls")]
pub use self::tls_info::TlsInfo;
use crate::net::Admission;
use crate::ws::ComeBack;

/// The error of setting a server up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address could not be resolved or bound.
    #[error("cannot listen")]
    Bind(#[from] io::Error),
    /// A route is malformed, or collides with another route.
    #[error("route {path:?} not added")]
    Route {
        /// The path.
        path: String,
        /// The reason.
        source: matchit::InsertError,
    },
}

/// A small HTTP/1.1 server for hubs.
///
/// A hub is mounted at a route by [`Hub::handle`](crate::Hub::handle). Other routes can have any
/// hyper service ([`service`](Self::service), [`fallback`](Self::fallback)). Sockets get
/// `TCP_NODELAY`. Limits bound what clients may do before they reach a hub, and counters count the
/// refusals ([`monitor`](Self::monitor)).
///
/// The server keeps a sixteenth of the process's file descriptors free, at least 8 and at most 64.
/// Other parts of the process may still use these descriptors. When only the reserve is left, new
/// WebSockets get 503, health checks are answered, and the backplane can connect again. The limit
/// of the process is read when the server begins to run. After an `accept` that fails, the server
/// waits 5 ms to 1 s and tries again.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use roomcast::{Hub, Server, shutdown_signal};
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::<String>::new();
/// let echo = hub.handlers().on_message(async |conn, message| {
///     conn.send(&message).await?;
///     Ok(())
/// });
/// let server = Server::bind("127.0.0.1:0").await?.route("/ws/{room}", hub.handle(echo))?;
/// println!("listening on {}", server.local_addr()?);
/// println!("{}", server.run_until(shutdown_signal(), Duration::from_secs(10)).await);
/// # Ok(())
/// # }
/// ```
pub struct Server {
    listeners: Vec<Listener>,
    routes: Routes,
    hubs: MountedHubs,
    limits: Limits,
    proxies: Proxies,
    /// The exceptions of title case, if the names of headers are written in title case.
    title_case: Option<Extensions>,
    #[cfg(feature = "tls")]
    tls: Option<TlsAcceptor>,
    monitor: ServerMonitor,
}

impl Server {
    fn of(listeners: Vec<Listener>) -> Self {
        let monitor = ServerMonitor::new(listeners.iter().find_map(Listener::local_addr));
        Self {
            listeners,
            routes: Routes::default(),
            hubs: MountedHubs::default(),
            limits: Limits::default(),
            proxies: Proxies::default(),
            title_case: None,
            #[cfg(feature = "tls")]
            tls: None,
            monitor,
        }
    }

    /// Adds a hyper service at a path. The path may have parameters, as in [`route`](Self::route).
    /// The service finds them as [`PathParams`](crate::PathParams) in the extensions of the
    /// request.
    ///
    /// # Errors
    /// [`ServerError::Route`]: the path is malformed, or collides with another route.
    pub fn service<S, B>(mut self, path: &str, service: S) -> Result<Self, ServerError>
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

    /// Sets the service for requests that no route matches. Default: a 404 response.
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

    /// Serves only HTTPS and `wss://`, with this certificate.
    ///
    /// TLS makes each client more expensive: see [`docs::mounting`](crate::docs).
    #[cfg(feature = "tls")]
    pub fn tls(self, tls: &Tls) -> Self {
        self.tls_config(tls.config())
    }

    /// Serves TLS as [`tls`](Self::tls) does, with a configuration of your own, for example for
    /// client certificates. The ALPN protocols of the configuration are replaced, because this
    /// server speaks HTTP/1.1.
    #[cfg(feature = "tls")]
    pub fn tls_config(mut self, config: &Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(tls::acceptor(config));
        self
    }

    /// Returns a handle to the counters. It stays valid while the server runs.
    pub fn monitor(&self) -> ServerMonitor {
        self.monitor.clone()
    }

    /// Splits the server into its listeners and the state that its connections share.
    fn into_parts(self) -> (Vec<Listener>, Arc<ServerShared>) {
        let server = ServerShared {
            routes: self.routes,
            admission: Admission::new(self.limits.pending),
            come_back: ComeBack::default(),
            descriptors: Descriptors::of_process(),
            scarce: Mutex::default(),
            ending: Ending::default(),
            limits: self.limits,
            proxies: self.proxies,
            title_case: self.title_case,
            #[cfg(feature = "tls")]
            tls: self.tls,
            monitor: self.monitor,
        };
        (self.listeners, Arc::new(server))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}
