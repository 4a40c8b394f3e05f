//! Names of headers as the RFCs print them.

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

/// A request with the names that hyper's title case gets wrong, as in `Sec-Websocket-Accept`.
const EXCEPTIONS: &[u8] = b"GET / HTTP/1.1\r\n\
    ETag:\r\nSec-WebSocket-Accept:\r\nSec-WebSocket-Extensions:\r\nSec-WebSocket-Protocol:\r\n\
    Sec-WebSocket-Version:\r\nWWW-Authenticate:\r\n\r\n";

/// The extensions of a response by which hyper writes these names as they are printed.
///
/// hyper keeps the names of a request in an extension of a type that is private, and looks for it in the response:
/// so a proxy hands names on, and so it is made here.
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
    // All that it reads is there. If hyper did not do it at once, all names would be in title case.
    let _ = connection.now_or_never();
    found.into_inner()
}

impl Server {
    /// Writes the names of headers as the RFCs print them, such as `Sec-WebSocket-Accept`, instead of in lower case.
    /// Default: `false`.
    ///
    /// For clients that compare names letter by letter, as some do on small devices. HTTP takes no notice of the
    /// case of names. Costs a few allocations for each response.
    pub fn title_case_headers(mut self, enabled: bool) -> Self {
        self.title_case = enabled.then(exceptions);
        self
    }
}
