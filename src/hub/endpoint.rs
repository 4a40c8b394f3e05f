//! [`Endpoint`]: a hub and a handler as a hyper service.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use hyper::Request;
use hyper::service::Service;

use super::{Handler, Hub};
use crate::ws::Response;

/// A hub and a handler as a service: each request that is accepted becomes a connection that the
/// handler serves.
///
/// It is a hyper service, and a route of a `Server` takes it. With the feature `tower` it is a
/// tower service, and with `axum` an axum handler. [`Hub::handle`] makes one. Clones share the
/// handler.
pub struct Endpoint<H, Out, In = Out> {
    hub: Hub<Out, In>,
    handler: Arc<H>,
}

impl<H, Out, In> Endpoint<H, Out, In> {
    pub(super) fn new(hub: Hub<Out, In>, handler: H) -> Self {
        Self { hub, handler: Arc::new(handler) }
    }

    /// The handler that serves the connections.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// The hub of the connections.
    pub fn hub(&self) -> &Hub<Out, In> {
        &self.hub
    }
}

impl<H, Out, In> Clone for Endpoint<H, Out, In> {
    fn clone(&self) -> Self {
        Self { hub: self.hub.clone(), handler: self.handler.clone() }
    }
}

impl<H, Out, In> fmt::Debug for Endpoint<H, Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("hub", &self.hub).finish_non_exhaustive()
    }
}

impl<H, Out, In, B> Service<Request<B>> for Endpoint<H, Out, In>
where
    Out: 'static,
    In: Send + 'static,
    H: Handler<Out, In>,
    B: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let Self { hub, handler } = self.clone();
        Box::pin(async move { Ok(hub.upgrade(request, handler).await) })
    }
}
