//! A hub in an axum router: [`Endpoint`] is an axum handler, and [`HubUpgrade`] an extractor.

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
/// The connection gets the parameters of the route. It gets the address of the client if the router
/// is served with `into_make_service_with_connect_info::<SocketAddr>()`. To run other extractors
/// before the handshake, use [`HubUpgrade`].
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

/// The marker by which axum recognises an [`Endpoint`] as a handler.
#[derive(Debug)]
#[doc(hidden)]
pub enum ByEndpoint {}

/// An axum extractor for a WebSocket request that a hub has not answered yet.
///
/// It takes the whole request, so it must be the last argument of an axum handler. The extractors
/// before it run before the handshake. If one of them rejects the request, the client gets its
/// response.
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
    /// Attaches a value to the future connection. [`Conn::get`](crate::Conn::get) returns it by its
    /// type. The value replaces an earlier value of the same type.
    pub fn with<E: Clone + Send + Sync + 'static>(mut self, extension: E) -> Self {
        let extensions = self.request.extensions_mut();
        let ConnExtensions(kept) = extensions.get_or_insert_default();
        kept.insert(extension);
        self
    }

    /// The request that [`Handler::on_upgrade`](crate::Handler::on_upgrade) will get.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Answers the handshake, and makes the request a connection of the endpoint's hub.
    ///
    /// Returns the response that accepts or refuses the handshake: see
    /// [`Hub::upgrade`](crate::Hub::upgrade). If it accepts, the response has the headers that
    /// `on_upgrade` has set
    /// ([`response_headers_mut`](crate::UpgradeRequest::response_headers_mut)). The axum handler
    /// may add more headers, such as from a cookie jar.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, there is no connection.
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
    /// A parameter of the route is not UTF-8: 400.
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

/// The parameters of the route; `None` if the route has no parameters.
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

/// Inserts the address from axum, unless the request already has one, such as from a proxy.
fn insert_remote_addr(extensions: &mut Extensions) {
    let known = extensions.get::<ConnectInfo<SocketAddr>>().copied();
    if let (Some(ConnectInfo(addr)), None) = (known, extensions.get::<RemoteAddr>()) {
        extensions.insert(RemoteAddr(addr));
    }
}
