//! Header names in the case in which the RFCs print them.

use std::cell::Cell;
use std::convert::Infallible;

use futures_util::FutureExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::http::Extensions;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{join, sink};

use super::Server;
use crate::ws::{Body, Response};

/// A request with the header names that hyper's title case gets wrong, such as
/// `Sec-Websocket-Accept`.
const EXCEPTIONS: &[u8] = b"GET / HTTP/1.1\r\n\
    ETag:\r\nSec-WebSocket-Accept:\r\nSec-WebSocket-Extensions:\r\nSec-WebSocket-Protocol:\r\n\
    Sec-WebSocket-Version:\r\nWWW-Authenticate:\r\n\r\n";

/// Makes the extensions for a response with which hyper writes these names as the RFCs print them.
///
/// hyper stores the names of a request in an extension of a private type, and looks for that
/// extension in the response: a proxy passes names on this way. So this function lets hyper parse a
/// request with the names.
pub(super) fn exceptions() -> Extensions {
    let found = Cell::new(Extensions::new());
    let service = service_fn(|request: Request<Incoming>| {
        let (parts, _) = request.into_parts();
        found.set(parts.extensions);
        async { Ok::<_, Infallible>(Response::new(Body::empty())) }
    });
    let connection = http1::Builder::new()
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(join(EXCEPTIONS, sink())), service);
    // All bytes are there. If hyper needed more than one poll, all names would be in its title
    // case.
    let _ = connection.now_or_never();
    found.into_inner()
}

impl Server {
    /// Writes header names as the RFCs print them, such as `Sec-WebSocket-Accept`, instead of in
    /// lower case. Default: `false`.
    ///
    /// HTTP ignores the case of names. This setting is for clients that compare names letter by
    /// letter, as some small devices do. Cost: a few allocations for each response.
    pub fn title_case_headers(mut self, enabled: bool) -> Self {
        self.title_case = enabled.then(exceptions);
        self
    }
}
