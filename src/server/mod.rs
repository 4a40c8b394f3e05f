//! A small HTTP/1.1 server: routes, a fallback, and an accept loop that does not give up.

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
/// A hub is a route, by [`Hub::handle`](crate::Hub::handle); any hyper service can stand beside it
/// ([`service`](Self::service), [`fallback`](Self::fallback)). Sockets get `TCP_NODELAY`. What clients may
/// do before they come to a hub is bounded, and counted ([`monitor`](Self::monitor)).
///
/// Of the descriptors that the process may have, a sixteenth stays free, 8 to 64 of them, as long as only
/// clients of the server take them: who comes then is told 503, health checks are answered, and the
/// backplane can connect again. The limit is read when the server begins to run. An `accept` that fails
/// all the same is tried again after a pause of 5 ms to 1 s.
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
    /// For the names of headers, where they are not in lower case.
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

    /// Adds a hyper service at a path, with parameters as those of [`route`](Self::route): the service
    /// finds them as [`PathParams`](crate::PathParams) in the request's extensions.
    ///
    /// # Errors
    /// When the path is malformed or collides with another route.
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

    /// What it listens on, and what its connections share.
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
