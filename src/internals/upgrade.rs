//! The opening handshake.

use hyper::Response;
use hyper::http::request::Parts;

use crate::ws;

/// The response to an upgrade request with which a handler would find no fault, without its body.
/// `None` where the request passes the checks and is still not understood.
pub fn upgrade(parts: Parts) -> Option<Response<()>> {
    let response = match ws::objection(&parts) {
        Some(objection) => objection.into_response(),
        None => ws::accept(parts).ok()?,
    };
    Some(response.map(drop))
}
