//! From a request to a connection: who is admitted, and the handshake.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::Full;
use hyper::header;
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};

use super::about::About;
use super::session::{Attached, run};
use super::{Conn, Handler, Hub, Reject, UpgradeRequest, events};
use crate::engine::{ConnKey, Link};
use crate::patience::timeout;
use crate::transport::{self, Denied, FrameReader, Owner, RemoteAddr};

impl<T: Send + 'static> Hub<T> {
    /// Answers a request for a WebSocket, and runs the connection in a task of its own once the
    /// response has left. For use in any hyper service whose connections allow upgrades
    /// (`with_upgrades`); [`handle`](Self::handle) makes such a service.
    ///
    /// A request that is no proper handshake gets 426 or 400, one of a page that may not connect
    /// ([`allow_origins`](crate::Builder::allow_origins)) 403, one too many 503 or, where its address has
    /// too many, 429, and one that the handler refuses what it says. A hub that is closing, and a handler
    /// that takes longer than [`upgrade_timeout`](crate::Builder::upgrade_timeout), answer with 503. All
    /// 503 and 429 say in `Retry-After` when to come back.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use roomcast::{Handler, Hub, Request, Response};
    ///
    /// async fn serve<H: Handler<String>>(
    ///     hub: Hub<String>,
    ///     handler: Arc<H>,
    ///     request: Request<hyper::body::Incoming>,
    /// ) -> Response<http_body_util::Full<bytes::Bytes>> {
    ///     hub.upgrade(request, handler).await
    /// }
    /// ```
    pub async fn upgrade<B, H>(&self, request: Request<B>, handler: H) -> Response<Full<Bytes>>
    where
        H: Handler<T>,
    {
        let (parts, _) = request.into_parts();
        let remote_addr = parts.extensions.get::<RemoteAddr>().map(|addr| addr.0);
        let response = self.answer(parts, handler).await;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            events::handshake_refused(remote_addr, response.status());
        }
        response
    }

    async fn answer<H: Handler<T>>(&self, parts: Parts, handler: H) -> Response<Full<Bytes>> {
        if let Some(response) = transport::objection(&parts) {
            return response;
        }
        if !self.inner.origins.admits(&parts) {
            self.counters().refused_origins.add(1);
            return transport::refusal(StatusCode::FORBIDDEN, "origin not allowed");
        }
        let mut request = UpgradeRequest::new(parts);
        let admitted = match Admitted::new(self, request.remote_addr()) {
            Ok(admitted) => admitted,
            Err(reject) => return reject.into_response(),
        };
        if let Err(reject) = self.ask(&handler, &mut request).await {
            return reject.into_response();
        }
        let (parts, about, protocol) = request.into_parts();
        let Some((response, on_upgrade)) = transport::accept(parts, protocol) else {
            return transport::refusal(StatusCode::BAD_REQUEST, "handshake not understood");
        };
        tokio::spawn(open(admitted, handler, on_upgrade, about));
        response
    }

    /// Asks the handler, which may take its time within a bound.
    async fn ask<H: Handler<T>>(
        &self,
        handler: &H,
        request: &mut UpgradeRequest,
    ) -> Result<(), Reject> {
        // In a block of its own, so that a panic before the first await is caught, too.
        let accepted = AssertUnwindSafe(async { handler.on_upgrade(request).await }).catch_unwind();
        match timeout(self.inner.upgrade_timeout, accepted).await {
            Ok(Ok(Ok(()))) if self.is_closing() => Err(self.come_back("hub closed")),
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(reject))) => Err(reject),
            Ok(Err(payload)) => {
                self.counters().handler_panics.add(1);
                events::panicked(&*payload);
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Err(Reject::new(status).with_body("internal error"))
            }
            Err(_) => {
                self.counters().upgrades_failed.add(1);
                Err(self.come_back("handshake took too long"))
            }
        }
    }

    fn come_back(&self, text: &'static str) -> Reject {
        let seconds = self.inner.come_back.next();
        Reject::new(StatusCode::SERVICE_UNAVAILABLE)
            .with_body(text)
            .with_header(header::RETRY_AFTER, seconds.into())
    }

    fn deny(&self, denied: Denied) -> Reject {
        match denied {
            Denied::Full => {
                self.counters().refused_full.add(1);
                self.come_back("too many connections")
            }
            Denied::Addr(wait) => {
                self.counters().refused_addrs.add(1);
                let seconds = match wait {
                    Some(wait) => wait.as_secs_f64().ceil() as u64,
                    None => self.inner.come_back.next(),
                };
                Reject::new(StatusCode::TOO_MANY_REQUESTS)
                    .with_body("too many connections of this address")
                    .with_header(header::RETRY_AFTER, seconds.into())
            }
        }
    }
}

/// Waits for the stream and starts the connection in a task of its own: what this one needs for the
/// upgrade is not kept for its life.
async fn open<T, H>(admitted: Admitted<T>, handler: H, on_upgrade: OnUpgrade, about: About)
where
    T: Send + 'static,
    H: Handler<T>,
{
    let Some(hub) = admitted.hub.clone() else { return };
    let upgraded = timeout(hub.inner.upgrade_timeout, on_upgrade).await;
    let Ok(Ok(upgraded)) = upgraded else {
        hub.counters().upgrades_failed.add(1);
        events::handshake_failed(admitted.addr);
        return;
    };
    let serial = hub.inner.serial.fetch_add(1, Ordering::Relaxed);
    // Where the last shard has gone since the handshake was accepted, any of them ends the connection.
    let id = ConnKey::new(serial, hub.inner.shards.place(serial).unwrap_or_default());
    let owner = Owner { id, port: hub.inner.shards.ports()[id.shard()].clone() };
    let streams = transport::into_streams(upgraded, hub.inner.socket_send_buffer, owner);
    let link = Arc::new(Link::new(id));
    let reader = FrameReader::new(streams.read, &streams.early, &hub.inner.read_limits);
    let conn = Conn::new(hub, link.clone(), about);
    conn.port().attach(link, streams.write);
    admitted.open();
    tokio::spawn(run(Attached(conn), handler, reader));
}

/// A connection in the making. Counts in its hub, unless it has opened and counts there by itself.
struct Admitted<T: Send + 'static> {
    hub: Option<Hub<T>>,
    addr: Option<SocketAddr>,
}

impl<T: Send + 'static> Admitted<T> {
    fn new(hub: &Hub<T>, addr: Option<SocketAddr>) -> Result<Self, Reject> {
        hub.inner.admission.begin(addr).map_err(|denied| hub.deny(denied))?;
        let admitted = Self { hub: Some(hub.clone()), addr };
        // Only now, when `closed` waits for it.
        match hub.is_closing() {
            true => Err(hub.come_back("hub closed")),
            false => Ok(admitted),
        }
    }

    fn open(mut self) {
        if let Some(hub) = self.hub.take() {
            hub.inner.admission.end_handshake();
        }
    }
}

impl<T: Send + 'static> Drop for Admitted<T> {
    fn drop(&mut self) {
        if let Some(hub) = &self.hub {
            hub.inner.admission.end_handshake();
            hub.end_session(self.addr);
        }
    }
}
