//! What a handler sees of a handshake, and how it refuses one.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::Extensions;
use hyper::http::request::Parts;
use hyper::{Request, StatusCode, Uri};

use super::conn_info::ConnInfo;
use crate::ws;
use crate::ws::{Body, Objection, Response};

/// The request for a connection, before it is answered.
///
/// Here the headers can be seen; a [`Conn`](crate::Conn) does not keep them. What a handler needs later, it attaches to
/// the connection by [`insert`](Self::insert).
pub struct UpgradeRequest {
    parts: Parts,
    info: ConnInfo,
    protocol: Option<HeaderValue>,
    response_headers: HeaderMap,
    /// Behind a lock, so that a name may be borrowed from the request itself.
    rooms: Mutex<BTreeSet<Box<str>>>,
}

impl UpgradeRequest {
    pub(super) fn new(mut parts: Parts) -> Self {
        let info = ConnInfo::take(&mut parts);
        Self {
            parts,
            info,
            protocol: None,
            response_headers: HeaderMap::new(),
            rooms: Mutex::default(),
        }
    }

    /// The start of the first origin, for a log.
    #[cfg(feature = "tracing")]
    pub(super) fn origin_start(&self) -> Option<Cow<'_, str>> {
        self.parts.headers.get(header::ORIGIN).map(|origin| start_of(origin.as_bytes()))
    }

    /// The start of the host that an origin is compared with, for a log.
    #[cfg(feature = "tracing")]
    pub(super) fn host_start(&self) -> Option<Cow<'_, str>> {
        let target = self.parts.uri.authority().map(|authority| authority.as_str().as_bytes());
        let host = || self.parts.headers.get(header::HOST).map(HeaderValue::as_bytes);
        target.or_else(host).map(start_of)
    }

    /// Leaves a request for nothing in the place of this one.
    pub(super) fn take(&mut self) -> Self {
        let (nothing, ()) = Request::default().into_parts();
        mem::replace(self, Self::new(nothing))
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Takes those names out of the response headers that belong to the handshake itself.
    pub(super) fn take_reserved(&mut self) -> Vec<HeaderName> {
        let names = self.response_headers.keys();
        let reserved: Vec<_> = names.filter(|name| ws::is_reserved(name)).cloned().collect();
        for name in &reserved {
            self.response_headers.remove(name);
        }
        reserved
    }

    /// Takes the rooms that the connection will begin in.
    pub(super) fn take_rooms(&mut self) -> BTreeSet<Box<str>> {
        mem::take(self.rooms.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// The response that accepts it, and what its connection keeps.
    pub(super) fn accept(self) -> Result<(Response, ConnInfo), Objection> {
        let mut response = ws::accept(self.parts)?;
        response.headers_mut().extend(self.response_headers);
        if let Some(protocol) = self.protocol {
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        Ok((response, self.info))
    }

    /// Has the connection begin in a room, which is made if need be. Naming a room twice is naming it once.
    ///
    /// The connection is a member before the client is told that it is open. A client
    /// whose `open` event has fired misses nothing that is published to the room afterwards, whoever publishes.
    /// With [`Conn::join`](crate::Conn::join) in `on_connect`, there is a moment after `open` in which it does.
    ///
    /// The room is joined when `on_upgrade` has accepted the request. What is published to the room from then
    /// on waits for the client in its send queue, within the bounds of
    /// [`send_buffer_bytes`](crate::Builder::send_buffer_bytes) and [`Overflow`](crate::Overflow), and is the
    /// first thing that the client gets, in order. The client may get it before `on_connect` is called.
    /// [`write_timeout`](crate::Builder::write_timeout) begins when the stream is there.
    ///
    /// With a backplane, the node subscribes as for [`Conn::join`](crate::Conn::join). This call does not wait
    /// for it: messages of other nodes come after
    /// [`Conn::join_subscribed`](crate::Conn::join_subscribed) in `on_connect`.
    ///
    /// # Refusals
    /// The handshake is refused if the connection cannot be in all its rooms, and
    /// [`Stats::refused_for_rooms`](crate::Stats::refused_for_rooms) counts it:
    ///
    /// - with 400 if a name is longer than [`max_room_name_bytes`](crate::Builder::max_room_name_bytes), or
    ///   there are more than [`max_rooms_per_conn`](crate::Builder::max_rooms_per_conn);
    /// - with 503 and `Retry-After` if the hub has no more rooms ([`max_rooms`](crate::Builder::max_rooms)).
    ///
    /// While the inbox of its shard is full the join waits, within
    /// [`upgrade_timeout`](crate::Builder::upgrade_timeout); then the handshake is refused with 503
    /// ([`Stats::upgrades_failed`](crate::Stats::upgrades_failed)).
    ///
    /// A client that goes before it has the response leaves its rooms at once; one that does not take the
    /// response, after [`upgrade_timeout`](crate::Builder::upgrade_timeout). Neither `on_connect` nor
    /// `on_disconnect` is called for it. What waited for it is counted in
    /// [`Stats::dropped_at_end`](crate::Stats::dropped_at_end). A connection that is closed before it is open,
    /// such as by [`Hub::close`](crate::Hub::close), is opened and then told so.
    ///
    /// # Examples
    /// ```
    /// use roomcast::{Handler, Reject, UpgradeRequest};
    ///
    /// struct Rooms;
    ///
    /// impl Handler<String> for Rooms {
    ///     async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
    ///         // `/ws?room=lobby&room=hall`
    ///         for room in request.query_all("room") {
    ///             request.join(&room);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn join(&self, room: &str) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.insert(room.into());
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// A header's value, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// The path and the query.
    pub fn uri(&self) -> &Uri {
        &self.parts.uri
    }

    /// A parameter of the route, percent-decoded: `room` of `/ws/{room}`.
    ///
    /// # Panics
    /// If the route has no parameter of that name, which is a mistake in the program. For a handler that is behind
    /// routes with and without it there is [`try_param`](Self::try_param).
    #[track_caller]
    pub fn param(&self, name: &str) -> &str {
        self.info.param(name)
    }

    /// A parameter of the route, percent-decoded, if the route has one of that name.
    pub fn try_param(&self, name: &str) -> Option<&str> {
        self.info.params.get(name)
    }

    /// The first value of a key in the query string, decoded.
    pub fn query(&self, key: &str) -> Option<Cow<'_, str>> {
        self.query_all(key).next()
    }

    /// All values of a key in the query string, decoded, in the order of the query: `a` and `b` of
    /// `?tag=a&tag=b`. Empty if the key is not there.
    ///
    /// Decodes while it is iterated; a value without escapes is not copied.
    ///
    /// # Examples
    /// ```
    /// use roomcast::{Handler, Reject, StatusCode, UpgradeRequest};
    ///
    /// struct Tagged;
    ///
    /// impl Handler<String> for Tagged {
    ///     async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
    ///         match request.query_all("tag").count() {
    ///             0..=8 => Ok(()),
    ///             _ => Err(StatusCode::BAD_REQUEST.into()),
    ///         }
    ///     }
    /// }
    /// ```
    pub fn query_all(&self, key: &str) -> impl Iterator<Item = Cow<'_, str>> {
        self.info.query_values(key)
    }

    /// The address of the client, where the server told it.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.info.remote_addr
    }

    /// What outer layers attached to the request. A connection does not keep it.
    pub fn extensions(&self) -> &Extensions {
        &self.parts.extensions
    }

    /// Attaches a value to the connection, such as the user who has logged in. [`Conn::get`](crate::Conn::get) finds
    /// it by its type. A value of the same type that was there is replaced.
    pub fn insert<V: Clone + Send + Sync + 'static>(&mut self, value: V) {
        self.info.extensions.insert(value);
    }

    /// Headers that the response carries if the handshake is accepted, such as `Set-Cookie`. A refusal
    /// carries those of its [`Reject`] instead. Default: none.
    ///
    /// The headers of the handshake itself cannot be set here: `Connection`, `Upgrade`, all of
    /// `Sec-WebSocket-…`, `Content-Length` and `Transfer-Encoding`. They are left out of the response, and an
    /// event warns of them. For the subprotocol there is [`select_protocol`](Self::select_protocol).
    ///
    /// # Examples
    /// ```
    /// use roomcast::header::{HeaderValue, SET_COOKIE};
    /// use roomcast::{Handler, Reject, UpgradeRequest};
    ///
    /// struct Visitors;
    ///
    /// impl Handler<String> for Visitors {
    ///     async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
    ///         let cookie = HeaderValue::from_static("seen=1; Path=/; HttpOnly; SameSite=Lax");
    ///         request.response_headers_mut().append(SET_COOKIE, cookie);
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn response_headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.response_headers
    }

    /// The subprotocols that the client offers, in its order of preference.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        let values = self.parts.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|protocol| !protocol.is_empty())
    }

    /// Picks a subprotocol; `false`, and none is picked, if the client does not offer it.
    pub fn select_protocol(&mut self, protocol: &str) -> bool {
        if !self.protocols().any(|offered| offered == protocol) {
            return false;
        }
        self.protocol = HeaderValue::from_str(protocol).ok();
        self.protocol.is_some()
    }
}

impl fmt::Debug for UpgradeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpgradeRequest")
            .field("uri", &self.parts.uri)
            .field("headers", &self.parts.headers)
            .finish_non_exhaustive()
    }
}

/// The first 256 bytes.
#[cfg(feature = "tracing")]
fn start_of(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&value[..value.len().min(256)])
}

/// The refusal of a handshake: a status (redirection or error), headers and a text.
///
/// # Examples
/// ```
/// use roomcast::{Reject, StatusCode};
///
/// let reject = Reject::new(StatusCode::UNAUTHORIZED).with_body("log in first");
/// # assert_eq!(reject.status(), 401);
/// ```
#[derive(Debug, Clone)]
pub struct Reject(Box<Response>);

impl Reject {
    /// A refusal with a status. One that refuses nothing (1xx, 2xx) becomes 400.
    pub fn new(status: StatusCode) -> Self {
        let is_refusal = !status.is_informational() && !status.is_success();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = if is_refusal { status } else { StatusCode::BAD_REQUEST };
        Self(Box::new(response))
    }

    /// Adds a text for the client.
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        *self.0.body_mut() = body.into();
        self
    }

    /// Adds a header.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers_mut().append(name, value);
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    pub(super) fn into_response(self) -> Response {
        *self.0
    }
}

impl From<StatusCode> for Reject {
    fn from(status: StatusCode) -> Self {
        Self::new(status)
    }
}
