//! A hub in an axum router: an endpoint is a handler, and [`HubUpgrade`] an extractor.

use std::fmt;
use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, RawPathParams, Request};
use axum::handler::Handler as AxumHandler;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use hyper::http::Extensions;
use hyper::http::request::Parts;

use crate::{ConnExtensions, Endpoint, Handler, PathParams, RemoteAddr};

/// An endpoint is an axum handler: `get(hub.handle(handler))`.
///
/// The connection gets the parameters of the route and, from
/// `into_make_service_with_connect_info::<SocketAddr>()`, the address. For extractors that run before, see
/// [`HubUpgrade`].
///
/// # Examples
/// ```
/// use axum::Router;
/// use axum::routing::get;
/// use roomcast::Hub;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let hub = Hub::<String>::new();
/// let chat = hub.handlers().on_connect(async |conn| {
///     conn.join(conn.param("room")).await?;
///     Ok(())
/// });
/// let app: Router = Router::new().route("/ws/{room}", get(hub.handle(chat)));
/// # drop(app);
/// # }
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
impl<H, Out, In, S> AxumHandler<ByEndpoint, S> for Endpoint<H, Out, In>
where
    Out: 'static,
    In: Send + 'static,
    H: Handler<Out, In>,
    S: Send + Sync + 'static,
{
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, state: S) -> Self::Future {
        Box::pin(async move {
            match HubUpgrade::from_request(request, &state).await {
                Ok(upgrade) => upgrade.accept(&self).await,
                Err(rejection) => rejection.into_response(),
            }
        })
    }
}

/// Tells axum that a handler is an [`Endpoint`].
#[derive(Debug)]
#[doc(hidden)]
pub enum ByEndpoint {}

/// An extractor: a request that wants to be a connection of a hub, and is not answered yet.
///
/// It takes the whole request, so it is the last argument of an axum handler. The ones before it run before
/// the handshake, and answer with responses of their own where they reject.
///
/// # Examples
/// ```
/// use axum::Router;
/// use axum::extract::FromRequestParts;
/// use axum::http::{StatusCode, request::Parts};
/// use axum::routing::get;
/// use roomcast::{Hub, HubUpgrade};
///
/// #[derive(Clone)]
/// struct User(String);
///
/// impl<S: Sync> FromRequestParts<S> for User {
///     type Rejection = (StatusCode, &'static str);
///
///     async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
///         match parts.headers.get("authorization").map(|value| value.as_bytes()) {
///             Some(b"Bearer secret") => Ok(Self("ada".to_owned())),
///             _ => Err((StatusCode::UNAUTHORIZED, "who are you?")),
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let hub = Hub::<String>::new();
/// let endpoint = hub.handle(hub.handlers().on_message(async |conn, text| {
///     let User(name) = conn.get();
///     conn.hub().broadcast(&format!("{name}: {text}")).await?;
///     Ok(())
/// }));
/// let ws = |user: User, upgrade: HubUpgrade| async move { upgrade.with(user).accept(&endpoint).await };
/// let app: Router = Router::new().route("/ws", get(ws));
/// # drop(app);
/// # }
/// ```
#[must_use = "the client waits for an answer"]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub struct HubUpgrade {
    request: Request,
}

impl HubUpgrade {
    /// Attaches something to the connection to be, of which
    /// [`Conn::get`](crate::Conn::get) tells. It replaces what was there of its type.
    pub fn with<E: Clone + Send + Sync + 'static>(mut self, extension: E) -> Self {
        let extensions = self.request.extensions_mut();
        let ConnExtensions(kept) = extensions.get_or_insert_default();
        kept.insert(extension);
        self
    }

    /// The request, as it will come to [`Handler::on_upgrade`](crate::Handler::on_upgrade).
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Makes a connection of the endpoint's hub of it. The response is the handshake's, or says why there is
    /// none: see [`Hub::upgrade`](crate::Hub::upgrade). The handshake's has the headers that `on_upgrade` has
    /// set ([`response_headers_mut`](crate::UpgradeRequest::response_headers_mut)). More can be added to the
    /// response, by a jar of cookies as well.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, no connection comes about.
    pub async fn accept<Out, In, H>(self, endpoint: &Endpoint<H, Out, In>) -> Response
    where
        Out: 'static,
        In: Send + 'static,
        H: Handler<Out, In>,
    {
        let answered = hyper::service::Service::call(endpoint, self.request).await;
        answered.unwrap_or_else(|never| match never {}).map(Body::new)
    }
}

impl<S: Send + Sync> FromRequest<S> for HubUpgrade {
    /// Where a parameter of the route is not UTF-8: 400.
    type Rejection = RawPathParamsRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let (mut parts, body) = request.into_parts();
        if let Some(params) = path_params(&mut parts, state).await? {
            parts.extensions.insert(params);
        }
        insert_remote_addr(&mut parts.extensions);
        Ok(Self { request: Request::from_parts(parts, body) })
    }
}

impl fmt::Debug for HubUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubUpgrade").field("request", &self.request).finish()
    }
}

/// The parameters of the route; `None` where it has none.
async fn path_params<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<Option<PathParams>, RawPathParamsRejection> {
    match RawPathParams::from_request_parts(parts, state).await {
        Ok(params) => Ok(Some(params.iter().collect())),
        Err(RawPathParamsRejection::MissingPathParams(_)) => Ok(None),
        Err(rejection) => Err(rejection),
    }
}

/// Where axum knows the address and nobody said another, as one that a proxy tells.
fn insert_remote_addr(extensions: &mut Extensions) {
    let known = extensions.get::<ConnectInfo<SocketAddr>>().copied();
    if let (Some(ConnectInfo(addr)), None) = (known, extensions.get::<RemoteAddr>()) {
        extensions.insert(RemoteAddr(addr));
    }
}
