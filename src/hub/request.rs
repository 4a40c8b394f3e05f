//! The request of a handshake, as the handler sees it, and the refusal of a handshake.

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
use crate::engine::ClientInflater;
use crate::ws;
use crate::ws::{Body, Objection, Response};

/// The request of a client for a connection, before the hub answers it.
///
/// Only this type has the headers; a [`Conn`](crate::Conn) does not keep them. Attach what you need
/// later to the connection by [`insert`](Self::insert).
pub struct UpgradeRequest {
    parts: Parts,
    info: ConnInfo,
    protocol: Option<HeaderValue>,
    compression: Option<CompressionAnswer>,
    response_headers: HeaderMap,
    /// Behind a lock, so that [`join`](Self::join) takes `&self`: a room name may be borrowed from
    /// the request.
    rooms: Mutex<BTreeSet<Box<str>>>,
}

/// A request that was accepted.
pub(super) struct Accepted {
    pub(super) response: Response,
    /// The data that the connection keeps.
    pub(super) info: ConnInfo,
    /// The inflater of the client, if messages may be compressed.
    pub(super) inflater: Option<ClientInflater>,
}

/// The answer to a client that may compress.
pub(super) struct CompressionAnswer {
    pub(super) inflater: ClientInflater,
    /// The `Sec-WebSocket-Extensions` of the response.
    pub(super) header: HeaderValue,
}

impl UpgradeRequest {
    pub(super) fn new(mut parts: Parts) -> Self {
        let info = ConnInfo::take(&mut parts);
        Self {
            parts,
            info,
            protocol: None,
            compression: None,
            response_headers: HeaderMap::new(),
            rooms: Mutex::default(),
        }
    }

    /// The start of the first `Origin` header, for a log.
    #[cfg(feature = "tracing")]
    pub(super) fn origin_start(&self) -> Option<Cow<'_, str>> {
        self.parts.headers.get(header::ORIGIN).map(|origin| start_of(origin.as_bytes()))
    }

    /// The start of the host with which the origin is compared, for a log.
    #[cfg(feature = "tracing")]
    pub(super) fn host_start(&self) -> Option<Cow<'_, str>> {
        let target = self.parts.uri.authority().map(|authority| authority.as_str().as_bytes());
        let host = || self.parts.headers.get(header::HOST).map(HeaderValue::as_bytes);
        target.or_else(host).map(start_of)
    }

    /// Takes the request, and leaves an empty one in its place.
    pub(super) fn take(&mut self) -> Self {
        let (nothing, ()) = Request::default().into_parts();
        mem::replace(self, Self::new(nothing))
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Removes the response headers that belong to the handshake itself, and returns their names.
    pub(super) fn take_reserved(&mut self) -> Vec<HeaderName> {
        let names = self.response_headers.keys();
        let reserved: Vec<_> = names.filter(|name| ws::is_reserved(name)).cloned().collect();
        for name in &reserved {
            self.response_headers.remove(name);
        }
        reserved
    }

    /// Takes the names of the rooms in which the connection begins.
    pub(super) fn take_rooms(&mut self) -> BTreeSet<Box<str>> {
        mem::take(self.rooms.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// Agrees with the client on compression.
    #[cfg(feature = "deflate")]
    pub(super) fn compress(&mut self, answer: CompressionAnswer) {
        self.compression = Some(answer);
    }

    /// Accepts the request.
    pub(super) fn accept(self) -> Result<Accepted, Objection> {
        let mut response = ws::accept(self.parts)?;
        let headers = response.headers_mut();
        headers.extend(self.response_headers);
        if let Some(protocol) = self.protocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        let inflater = self.compression.map(|CompressionAnswer { inflater, header }| {
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, header);
            inflater
        });
        Ok(Accepted { response, info: self.info, inflater })
    }

    /// Makes the connection a member of a room from its beginning. The room is created if it does
    /// not exist. Naming a room twice is the same as naming it once.
    ///
    /// The connection is a member before the client learns that the connection is open. So a client
    /// whose `open` event has fired misses no later message to the room, whoever publishes it. With
    /// [`Conn::join`](crate::Conn::join) in `on_connect`, a client can miss messages in a moment
    /// after `open`.
    ///
    /// The connection joins the room when `on_upgrade` has accepted the request. From then on,
    /// messages to the room wait for the client in its send queue, within the bounds of
    /// [`send_buffer_bytes`](crate::Builder::send_buffer_bytes) and [`Overflow`](crate::Overflow).
    /// They are the first messages that the client gets, in order. The client may get them before
    /// `on_connect` is called. [`write_timeout`](crate::Builder::write_timeout) begins when the
    /// connection has its stream.
    ///
    /// With a backplane, the node subscribes as for [`Conn::join`](crate::Conn::join). The
    /// handshake does not wait for the subscription: to be sure of messages from other nodes, call
    /// [`Conn::join_subscribed`](crate::Conn::join_subscribed) in `on_connect`.
    ///
    /// # Refusals
    /// The handshake is refused if the connection cannot join all its rooms, and
    /// [`Stats::refused_for_rooms`](crate::Stats::refused_for_rooms) counts it:
    ///
    /// - with 400 if a name is longer than
    ///   [`max_room_name_bytes`](crate::Builder::max_room_name_bytes), or there are more than
    ///   [`max_rooms_per_conn`](crate::Builder::max_rooms_per_conn);
    /// - with 503 and `Retry-After` if the hub has reached its limit of rooms
    ///   ([`max_rooms`](crate::Builder::max_rooms)).
    ///
    /// While the inbox of the shard is full, the join waits. After
    /// [`upgrade_timeout`](crate::Builder::upgrade_timeout), the handshake is refused with 503
    /// ([`Stats::upgrades_failed`](crate::Stats::upgrades_failed)).
    ///
    /// A client that goes away before it has the response leaves its rooms at once. A client that
    /// does not take the response leaves them after
    /// [`upgrade_timeout`](crate::Builder::upgrade_timeout). Neither `on_connect` nor
    /// `on_disconnect` is called for such a client, and
    /// [`Stats::dropped_at_end`](crate::Stats::dropped_at_end) counts the messages that waited for
    /// it. A connection that is closed before it is open, such as by
    /// [`Hub::close`](crate::Hub::close), is still opened, and then gets the close frame.
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

    /// The headers of the request.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The value of a header. `None` if the request lacks the header, or the value is not visible
    /// ASCII text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// The path and the query of the request.
    pub fn uri(&self) -> &Uri {
        &self.parts.uri
    }

    /// A parameter of the route, percent-decoded: `room` of `/ws/{room}`.
    ///
    /// # Panics
    /// If the route has no parameter of that name, which is a mistake in the program. The panic
    /// message names the parameters of the route. If only some routes of a handler have the
    /// parameter, use [`try_param`](Self::try_param).
    #[track_caller]
    pub fn param(&self, name: &str) -> &str {
        self.info.param(name)
    }

    /// A parameter of the route, percent-decoded. `None` if the route has no parameter of that
    /// name.
    pub fn try_param(&self, name: &str) -> Option<&str> {
        self.info.try_param(name)
    }

    /// The first value of a key in the query string, decoded. `None` if the query does not have the
    /// key.
    pub fn query(&self, key: &str) -> Option<Cow<'_, str>> {
        self.query_all(key).next()
    }

    /// All values of a key in the query string, decoded, in the order of the query: `a` and `b` of
    /// `?tag=a&tag=b`. Empty if the query does not have the key.
    ///
    /// Each iteration decodes again. A value without escapes is not copied.
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

    /// The address of the client, if the server has inserted a [`RemoteAddr`](crate::RemoteAddr)
    /// into the request.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.info.remote_addr
    }

    /// The extensions of the request, which outer layers of the server have attached. A connection
    /// does not keep them.
    pub fn extensions(&self) -> &Extensions {
        &self.parts.extensions
    }

    /// Attaches a value to the connection, such as the user who has logged in.
    /// [`Conn::get`](crate::Conn::get) returns it by its type. The value replaces an earlier value
    /// of the same type.
    pub fn insert<V: Clone + Send + Sync + 'static>(&mut self, value: V) {
        self.info.extensions.insert(value);
    }

    /// The headers that are added to the response if the handshake is accepted, such as
    /// `Set-Cookie`. A refusal has the headers of its [`Reject`] instead. Default: empty.
    ///
    /// The headers of the handshake itself cannot be set here: `Connection`, `Upgrade`, all of
    /// `Sec-WebSocket-…`, `Content-Length` and `Transfer-Encoding`. The hub leaves them out of the
    /// response, and logs a warning. To choose the subprotocol, use
    /// [`select_protocol`](Self::select_protocol).
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

    /// Picks the subprotocol of the response. Returns `false`, and picks none, if the client does
    /// not offer it.
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
    /// Makes a refusal with a status. A status that is no refusal (1xx, 2xx) becomes 400.
    pub fn new(status: StatusCode) -> Self {
        let is_refusal = !status.is_informational() && !status.is_success();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = if is_refusal { status } else { StatusCode::BAD_REQUEST };
        Self(Box::new(response))
    }

    /// Sets the text of the response.
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        *self.0.body_mut() = body.into();
        self
    }

    /// Adds a header to the response.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers_mut().append(name, value);
        self
    }

    /// The status of the response.
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
