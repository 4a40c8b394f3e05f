//! The hubs that are mounted on a server: their routes, their end with the server, and their
//! health.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, join_all};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};

use super::{Server, ServerError};
use crate::hub::{Endpoint, Handler, Hub, Shutdown, ShutdownReport};
use crate::ws::{Response, refusal};

/// A hub of any message types.
trait AnyHub: Send + Sync {
    /// Returns the identity: it is equal for two handles of the same hub.
    fn id(&self) -> usize;
    fn is_ready(&self) -> bool;
    fn shutdown(&self, how: Shutdown) -> BoxFuture<'_, ShutdownReport>;
}

impl<Out: 'static, In: Send + 'static> AnyHub for Hub<Out, In> {
    fn id(&self) -> usize {
        self.identity()
    }

    fn is_ready(&self) -> bool {
        Hub::is_ready(self)
    }

    fn shutdown(&self, how: Shutdown) -> BoxFuture<'_, ShutdownReport> {
        Box::pin(Hub::shutdown(self, how))
    }
}

/// The hubs that are mounted on a server, each once. Clones share the list.
#[derive(Clone, Default)]
pub(super) struct MountedHubs(Arc<Mutex<Vec<Arc<dyn AnyHub>>>>);

impl MountedHubs {
    fn add<Out: 'static, In: Send + 'static>(&self, hub: &Hub<Out, In>) {
        let mut hubs = self.lock();
        if hubs.iter().all(|other| other.id() != hub.identity()) {
            hubs.push(Arc::new(hub.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<dyn AnyHub>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shuts all hubs down at the same time.
    pub(super) async fn shutdown(&self, how: &Shutdown) -> ShutdownReport {
        let hubs = self.lock().clone();
        let reports = join_all(hubs.iter().map(|hub| hub.shutdown(how.clone()))).await;
        reports.into_iter().fold(ShutdownReport::default(), ShutdownReport::and)
    }

    fn are_ready(&self) -> bool {
        self.lock().iter().all(|hub| hub.is_ready())
    }
}

/// Hubs.
impl Server {
    /// Adds a hub with its handler ([`Hub::handle`](crate::Hub::handle)) at a path. The hub shuts
    /// down with the server ([`run_until`](Self::run_until)).
    ///
    /// `{name}` in the path is a parameter: a whole segment or a part of a segment. `{*name}` is
    /// the rest of the path. [`Conn::param`](crate::Conn::param) returns the values,
    /// percent-decoded.
    ///
    /// # Errors
    /// [`ServerError::Route`]: the path is malformed, or collides with another route.
    pub fn route<Out: 'static, In: Send + 'static, H: Handler<Out, In>>(
        self,
        path: &str,
        endpoint: Endpoint<H, Out, In>,
    ) -> Result<Self, ServerError> {
        self.hubs.add(endpoint.hub());
        self.service(path, endpoint)
    }

    /// Shuts this hub down together with the server, and includes it in [`health`](Self::health).
    /// For a hub that has no [`route`](Self::route) on this server, because it is behind a layer or
    /// only publishes.
    pub fn ends<Out: 'static, In: Send + 'static>(self, hub: &Hub<Out, In>) -> Self {
        self.hubs.add(hub);
        self
    }

    /// Adds a health check at a path, for load balancers: 200 if new clients should come here, or
    /// 503 from the moment at which a hub of this server begins to shut down or has lost a shard
    /// ([`Hub::is_ready`](crate::Hub::is_ready)).
    ///
    /// # Errors
    /// [`ServerError::Route`]: the path is malformed, or collides with another route.
    pub fn health(self, path: &str) -> Result<Self, ServerError> {
        let hubs = self.hubs.clone();
        self.service(
            path,
            hyper::service::service_fn(move |_| {
                let response = health(&hubs);
                async move { Ok::<_, Infallible>(response) }
            }),
        )
    }
}

fn health(hubs: &MountedHubs) -> Response {
    let (status, text) = if hubs.are_ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let mut response = refusal(status, text);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
