//! The handshake: from a request to a connection, with its checks and limits.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use hyper::Request;
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;

use super::refusal::Refusal;
use super::request::Accepted;
use super::session::{Attached, Session};
use super::{Conn, Handler, Hub, UpgradeRequest, events};
use crate::engine::{ConnKey, JoinError};
use crate::net::{FrameReader, Owner, WriteHalf};
use crate::runtime::deadline::timeout;
use crate::ws::{NoUpgrade, OnCompressed, RemoteAddr, Response};
use crate::{net, ws};

impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// Answers a WebSocket handshake, and runs the connection in a task of its own after the
    /// response has left.
    ///
    /// Call it in any hyper service whose connections allow upgrades (`with_upgrades`).
    /// [`handle`](Self::handle) makes such a service.
    ///
    /// # Refusals
    ///
    /// | status | reason |
    /// |---|---|
    /// | 400, 426 | the request is not a valid handshake |
    /// | 400 | the offers of compression are malformed, with `Builder::compression` |
    /// | 403 | the page may not connect: [`allow_origins`](crate::Builder::allow_origins), [`check_origin`](crate::Builder::check_origin) |
    /// | 429 | the address has too many connections, or opens them too fast |
    /// | 503 | the hub has too many connections or handshakes, or is closing |
    /// | 503 | the handler takes longer than [`upgrade_timeout`](crate::Builder::upgrade_timeout) |
    /// | 400, 503 | the connection cannot join the rooms of [`UpgradeRequest::join`] |
    /// | 500 | the handler panics |
    /// | as the handler says | the handler refuses the request |
    ///
    /// The hub's responses with 503 and 429 have a `Retry-After`.
    ///
    /// A request without hyper's [`OnUpgrade`] extension cannot become a connection: a layer has
    /// removed it, or has rebuilt the request without its extensions. Such a request gets 500
    /// ([`refused_without_upgrade`](crate::Stats::refused_without_upgrade)). The hub cannot notice
    /// a server without `with_upgrades` before the response has left: its clients get 101, and then
    /// the end of the stream ([`upgrades_unsupported`](crate::Stats::upgrades_unsupported)).
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
    /// ) -> Response {
    ///     hub.upgrade(request, handler).await
    /// }
    /// ```
    pub async fn upgrade<B, H>(&self, request: Request<B>, handler: H) -> Response
    where
        H: Handler<Out, In>,
    {
        let (parts, _) = request.into_parts();
        let remote_addr = parts.extensions.get::<RemoteAddr>().map(|addr| addr.0);
        match self.answer(parts, handler).await {
            Ok(response) => response,
            Err(refusal) => self.refuse(refusal, remote_addr),
        }
    }

    async fn answer<H: Handler<Out, In>>(
        &self,
        mut parts: Parts,
        handler: H,
    ) -> Result<Response, Refusal> {
        if let Some(objection) = ws::objection(&parts) {
            return Err(Refusal::Malformed(objection));
        }
        let on_upgrade = ws::take_upgrade(&mut parts).map_err(Refusal::NoUpgrade)?;
        let request = UpgradeRequest::new(parts);
        self.check_origin(&request)?;
        #[cfg(feature = "deflate")]
        let request = self.negotiate(request)?;
        self.warn_if_addr_unknown(request.remote_addr());
        let mut admitted = Admitted::new(self, request.remote_addr())?;
        let accepted = AssertUnwindSafe(self.accept(&mut admitted, &handler, request));
        let (response, attached) =
            match timeout(self.inner.upgrade_timeout, accepted.catch_unwind()).await {
                Ok(Ok(accepted)) => accepted?,
                Ok(Err(payload)) => {
                    events::panicked(&*payload);
                    return Err(Refusal::Panicked);
                }
                Err(_) => return Err(Refusal::TimedOut),
            };
        tokio::spawn(open(admitted, attached, handler, on_upgrade));
        Ok(response)
    }

    /// Asks the handler, attaches the connection to its shard, and joins its rooms. This happens
    /// before the hub has the stream: the client may get the response earlier, and must then miss
    /// no message to its rooms.
    async fn accept<H: Handler<Out, In>>(
        &self,
        admitted: &mut Admitted<Out, In>,
        handler: &H,
        mut request: UpgradeRequest,
    ) -> Result<(Response, Attached<Out, In>), Refusal> {
        handler.on_upgrade(&mut request).await.map_err(Refusal::Handler)?;
        if self.is_closing() {
            return Err(Refusal::Closing);
        }
        self.drop_reserved(&mut request);
        let rooms = request.take_rooms();
        self.inner.shards.ports()[0].check_rooms(&rooms).map_err(Refusal::Rooms)?;
        let accepted = request.accept().map_err(Refusal::Malformed)?;
        let (response, attached) = admitted.attach(accepted);
        for room in &rooms {
            match attached.0.join(room).await {
                // The connection has already ended. The close frame has the reason.
                Ok(()) | Err(JoinError::Closed) => {}
                Err(error) => return Err(Refusal::Rooms(error)),
            }
        }
        Ok((response, attached))
    }

    fn refuse(&self, refusal: Refusal, remote_addr: Option<SocketAddr>) -> Response {
        refusal.counter(self.counters()).add(1);
        let reason = refusal.reason();
        if let Refusal::NoUpgrade(NoUpgrade::Lost) = refusal
            && let Some(times) = self.inner.warnings.lost_upgrades.add()
        {
            events::upgrade_lost(self.name(), times);
        }
        let response = refusal.into_response(&self.inner.come_back);
        events::handshake_refused(remote_addr, reason, response.status());
        response
    }

    fn check_origin(&self, request: &UpgradeRequest) -> Result<(), Refusal> {
        // The check of the application may panic.
        match catch_unwind(AssertUnwindSafe(|| self.inner.origins.judge(request))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => {
                events::origin_refused(request, reason);
                Err(Refusal::Origin(reason))
            }
            Err(payload) => {
                events::panicked(&*payload);
                Err(Refusal::Panicked)
            }
        }
    }

    /// Warns if there are limits per address, but the request has no address.
    fn warn_if_addr_unknown(&self, addr: Option<SocketAddr>) {
        if addr.is_none() && self.inner.lifetime.limits_addrs() {
            self.inner.warnings.unknown_addr.get_or_init(|| events::addr_unknown(self.name()));
        }
    }

    /// Removes the response headers that a handler may not set, and warns.
    fn drop_reserved(&self, request: &mut UpgradeRequest) {
        for name in request.take_reserved() {
            if let Some(times) = self.inner.warnings.reserved_headers.add() {
                events::header_left_out(self.name(), &name, times);
            }
        }
    }

    /// Counts and logs an accepted handshake that did not become a connection.
    fn fail(&self, remote_addr: Option<SocketAddr>, error: Option<&hyper::Error>) {
        // hyper reports a server without upgrades only now, when the response is on its way.
        if error.is_some_and(hyper::Error::is_user) {
            self.counters().upgrades_unsupported.add(1);
            if let Some(times) = self.inner.warnings.unsupported.add() {
                events::upgrades_unsupported(self.name(), times);
            }
        } else {
            self.counters().upgrades_failed.add(1);
        }
        events::handshake_failed(remote_addr);
    }
}

/// Waits for the stream, and then starts the session in another task, so that the memory for the
/// upgrade is freed.
async fn open<Out, In, H>(
    admitted: Admitted<Out, In>,
    attached: Attached<Out, In>,
    handler: H,
    on_upgrade: OnUpgrade,
) where
    Out: 'static,
    In: Send + 'static,
    H: Handler<Out, In>,
{
    let conn = &attached.0;
    let hub = conn.hub();
    let upgraded = match timeout(hub.inner.upgrade_timeout, on_upgrade).await {
        Ok(Ok(upgraded)) => upgraded,
        Ok(Err(error)) => return hub.fail(conn.remote_addr(), Some(&error)),
        Err(_) => return hub.fail(conn.remote_addr(), None),
    };
    let owner = Owner { id: conn.key(), port: conn.port().clone() };
    let streams = net::into_streams(upgraded, hub.inner.socket_options, owner);
    let on_compressed = OnCompressed::of_client(conn.link().inflater().is_some());
    let limits = &hub.inner.read_limits;
    let reader = FrameReader::new(streams.read, &streams.early, limits, on_compressed);
    conn.port().set_socket(conn.key(), streams.write);
    drop(admitted);
    tokio::spawn(Session::new(attached, handler, reader).begin());
}

/// A handshake that is counted in its hub until this is dropped. Its connection is counted, too:
/// until this is dropped, or, once attached, until its [`Attached`] is dropped.
struct Admitted<Out: 'static, In: Send + 'static> {
    hub: Hub<Out, In>,
    addr: Option<SocketAddr>,
    is_attached: bool,
}

impl<Out: 'static, In: Send + 'static> Admitted<Out, In> {
    fn new(hub: &Hub<Out, In>, addr: Option<SocketAddr>) -> Result<Self, Refusal> {
        hub.inner.lifetime.enter(addr).map_err(Refusal::Denied)?;
        let admitted = Self { hub: hub.clone(), addr, is_attached: false };
        // Check only after counting: either a shutdown counts this handshake, or this handshake
        // sees the shutdown.
        if hub.is_closing() { Err(Refusal::Closing) } else { Ok(admitted) }
    }

    /// Attaches a new connection to its shard, before the connection has its stream.
    fn attach(&mut self, accepted: Accepted) -> (Response, Attached<Out, In>) {
        let Accepted { response, info, inflater } = accepted;
        let inner = &self.hub.inner;
        let serial = inner.serial.fetch_add(1, Ordering::Relaxed);
        // If the last shard has ended since the handler was asked, any shard ends the connection.
        let id = ConnKey::new(serial, inner.shards.place(serial).unwrap_or_default());
        let conn = Conn::new(self.hub.clone(), id, info, inflater);
        conn.port().attach(conn.link().clone(), WriteHalf::Awaited);
        // The hub does not read from the client before the session begins, so silence must not
        // count.
        conn.link().pause_listening();
        self.is_attached = true;
        (response, Attached(conn))
    }
}

impl<Out: 'static, In: Send + 'static> Drop for Admitted<Out, In> {
    fn drop(&mut self) {
        self.hub.inner.lifetime.end_handshake();
        if !self.is_attached {
            self.hub.end_session(self.addr);
        }
    }
}
