//! The negotiation of compression in the handshake (RFC 7692, section 5).

use std::panic::{AssertUnwindSafe, catch_unwind};

use hyper::header::{self, HeaderValue};

use super::refusal::Refusal;
use super::request::CompressionAnswer;
use super::{Hub, UpgradeRequest, events};
use crate::ws;
use crate::ws::{Agreement, Objection};

impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// Agrees with the client on compression, if the hub compresses, the client offers it, and the
    /// application accepts the client.
    ///
    /// A hub that does not compress ignores the offers, even if they are malformed.
    pub(super) fn negotiate(&self, mut request: UpgradeRequest) -> Result<UpgradeRequest, Refusal> {
        let Some(compression) = &self.inner.compression else { return Ok(request) };
        let Some(agreement) = agreement(&request)? else { return Ok(request) };
        let accepts = || compression.accept.as_ref().is_none_or(|accept| accept(&request));
        // The closure of the application may panic.
        let is_accepted = catch_unwind(AssertUnwindSafe(accepts)).map_err(|payload| {
            events::panicked(&*payload);
            Refusal::Panicked
        })?;
        if is_accepted {
            let (inflater, header) = (agreement.inflater(), agreement.answer());
            request.compress(CompressionAnswer { inflater, header });
        }
        Ok(request)
    }
}

fn agreement(request: &UpgradeRequest) -> Result<Option<Agreement>, Refusal> {
    let values = request.headers().get_all(header::SEC_WEBSOCKET_EXTENSIONS);
    ws::negotiate(values.iter().map(HeaderValue::as_bytes)).map_err(|_| {
        Refusal::Malformed(Objection::bad_request("malformed Sec-WebSocket-Extensions"))
    })
}
