//! The opening handshake.

use hyper::Response;
use hyper::http::request::Parts;

use crate::ws;

/// The response, without its body, to an upgrade request that the handler accepts. `None` if the
/// request passes the checks but cannot be accepted.
pub fn upgrade(parts: Parts) -> Option<Response<()>> {
    let response = match ws::objection(&parts) {
        Some(objection) => objection.into_response(),
        None => ws::accept(parts).ok()?,
    };
    Some(response.map(drop))
}
