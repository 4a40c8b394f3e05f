//! From a request to a connection: who is admitted, and the handshake.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use hyper::Request;
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;

use super::conn_info::ConnInfo;
use super::refusal::Refusal;
use super::session::{Attached, run};
use super::{Conn, Handler, Hub, UpgradeRequest, events};
use crate::engine::{ConnKey, JoinError};
use crate::net::{FrameReader, Owner, WriteHalf};
use crate::runtime::deadline::timeout;
use crate::ws::{NoUpgrade, RemoteAddr, Response};
use crate::{net, ws};

impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// Answers a request for a WebSocket, and runs the connection in a task of its own once the
    /// response has left. For use in any hyper service whose connections allow upgrades
    /// (`with_upgrades`); [`handle`](Self::handle) makes such a service.
    ///
    /// A request that is no proper handshake gets 426 or 400, one of a page that may not connect
    /// ([`allow_origins`](crate::Builder::allow_origins),
    /// [`check_origin`](crate::Builder::check_origin)) 403, one too many 503 or, where its address has
    /// too many, 429, and one that the handler refuses what it says. A hub that is closing, and a handler
    /// that takes longer than [`upgrade_timeout`](crate::Builder::upgrade_timeout), answer with 503. All
    /// 503 and 429 say in `Retry-After` when to come back.
    ///
    /// A request without hyper's [`OnUpgrade`] extension cannot become a connection: a layer has taken it,
    /// or has rebuilt the request without its extensions. It gets 500
    /// ([`refused_without_upgrade`](crate::Stats::refused_without_upgrade)). A server without
    /// `with_upgrades` cannot be told before the response has left: its clients get 101, and then the end
    /// of the stream ([`upgrades_unsupported`](crate::Stats::upgrades_unsupported)).
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

    /// Asks the handler, and has the connection begin: the client may know of the response before the hub
    /// has its stream, and then counts on its rooms.
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
        let (response, info) = request.accept().map_err(Refusal::Malformed)?;
        let attached = admitted.attach(info);
        for room in &rooms {
            match attached.0.join(room).await {
                // It has ended already. The close frame will say why.
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

    /// Warns if a limit cannot hold, because nobody has told the address of the client.
    fn warn_if_addr_unknown(&self, addr: Option<SocketAddr>) {
        if addr.is_none() && self.inner.lifetime.limits_addrs() {
            self.inner.warnings.unknown_addr.get_or_init(|| events::addr_unknown(self.name()));
        }
    }

    /// Leaves headers out of the response that the handler may not set.
    fn drop_reserved(&self, request: &mut UpgradeRequest) {
        for name in request.take_reserved() {
            if let Some(times) = self.inner.warnings.reserved_headers.add() {
                events::header_left_out(self.name(), &name, times);
            }
        }
    }

    /// An accepted handshake did not become a connection.
    fn fail(&self, remote_addr: Option<SocketAddr>, error: Option<&hyper::Error>) {
        // hyper says so only now, with the response on its way: before, nothing tells whether a connection
        // is served with upgrades.
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

/// Waits for the stream and starts the session in a task of its own: what this one needs for the
/// upgrade is not kept for its life.
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
    let reader = FrameReader::new(streams.read, &streams.early, &hub.inner.read_limits);
    conn.port().set_socket(conn.key(), streams.write);
    drop(admitted);
    tokio::spawn(run(attached, handler, reader));
}

/// A handshake, which counts in its hub until it is dropped. So does its connection, until this or its
/// [`Attached`] is dropped.
struct Admitted<Out: 'static, In: Send + 'static> {
    hub: Hub<Out, In>,
    addr: Option<SocketAddr>,
    is_attached: bool,
}

impl<Out: 'static, In: Send + 'static> Admitted<Out, In> {
    fn new(hub: &Hub<Out, In>, addr: Option<SocketAddr>) -> Result<Self, Refusal> {
        hub.inner.lifetime.enter(addr).map_err(Refusal::Denied)?;
        let admitted = Self { hub: hub.clone(), addr, is_attached: false };
        // Only now, because a shutdown counts the connection, or the connection sees the shutdown.
        if hub.is_closing() { Err(Refusal::Closing) } else { Ok(admitted) }
    }

    /// The connection begins, before its stream is there.
    fn attach(&mut self, info: ConnInfo) -> Attached<Out, In> {
        let inner = &self.hub.inner;
        let serial = inner.serial.fetch_add(1, Ordering::Relaxed);
        // Where the last shard has gone since the handler was asked, any of them ends the connection.
        let id = ConnKey::new(serial, inner.shards.place(serial).unwrap_or_default());
        let conn = Conn::new(self.hub.clone(), id, info);
        conn.port().attach(conn.link().clone(), WriteHalf::Awaited);
        // Nobody listens to the client before its session does, so its silence says nothing.
        conn.link().pause_listening();
        self.is_attached = true;
        Attached(conn)
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
