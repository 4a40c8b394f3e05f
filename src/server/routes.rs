//! The routes of a server: the service for each path.

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Incoming};
use hyper::service::{Service, service_fn};
use hyper::{Request, StatusCode};

use crate::ws::{PathParams, Response, refusal};

pub(super) type BoxError = Box<dyn Error + Send + Sync>;
pub(super) type AnyResponse = Response<UnsyncBoxBody<Bytes, BoxError>>;
type AnyService = Box<dyn Fn(Request<Incoming>) -> BoxFuture<'static, AnyResponse> + Send + Sync>;

/// The services by path, and the fallback.
pub(super) struct Routes {
    pub(super) router: matchit::Router<AnyService>,
    pub(super) fallback: AnyService,
}

impl Default for Routes {
    fn default() -> Self {
        let not_found = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(refusal(StatusCode::NOT_FOUND, "not found"))
        });
        Self { router: matchit::Router::new(), fallback: erase(not_found) }
    }
}

impl Routes {
    /// Passes a request to the service of its path. A parameter that is not UTF-8 when decoded gets
    /// 400.
    pub(super) fn dispatch(
        &self,
        mut request: Request<Incoming>,
    ) -> BoxFuture<'static, AnyResponse> {
        let path = request.uri().path().to_owned();
        let Ok(matched) = self.router.at(&path) else {
            return (self.fallback)(request);
        };
        let decode = |(name, value): (&str, &str)| {
            let value = percent_encoding::percent_decode_str(value).decode_utf8().ok()?;
            Some((name.to_owned(), value.into_owned()))
        };
        let Some(params) = matched.params.iter().map(decode).collect::<Option<PathParams>>() else {
            let response = refusal(StatusCode::BAD_REQUEST, "path is not UTF-8");
            return Box::pin(std::future::ready(response.map(any_body)));
        };
        request.extensions_mut().insert(params);
        (matched.value)(request)
    }
}

/// Erases the type of a service. An error of the service becomes a 500 response.
pub(super) fn erase<S, B>(service: S) -> AnyService
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Box::new(move |request| {
        let response = service.call(request);
        Box::pin(async move {
            match response.await {
                Ok(response) => response.map(any_body),
                Err(_) => {
                    refusal(StatusCode::INTERNAL_SERVER_ERROR, "service failed").map(any_body)
                }
            }
        })
    })
}

/// Erases the type of a body.
pub(super) fn any_body<B>(body: B) -> UnsyncBoxBody<Bytes, BoxError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}
