//! [`Endpoint`] as a [`tower_service::Service`], for tower's middleware around the handshake.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use hyper::Request;
use tower_service::Service;

use crate::{Endpoint, Handler, Response};

/// An endpoint is a tower service. It is always ready: a hub with too many connections answers with
/// 503.
///
/// A timeout around the service bounds the handshake, not the connection: after the response, the
/// connection has a task of its own.
///
/// # Examples
/// ```
/// use roomcast::Hub;
/// use std::time::Duration;
/// use tower::ServiceBuilder;
/// use tower::timeout::TimeoutLayer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let hub = Hub::<String>::new();
/// let service = ServiceBuilder::new()
///     .layer(TimeoutLayer::new(Duration::from_secs(2)))
///     .service(hub.handle(hub.handlers()));
/// # fn is_service<S: tower::Service<roomcast::Request<()>>>(_: &S) {}
/// # is_service(&service);
/// # }
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
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

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        hyper::service::Service::call(self, request)
    }
}
