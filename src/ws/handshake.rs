//! The opening handshake on the server's side (RFC 6455, section 4.2).
//!
//! [`objection`] checks a request as section 4.2.1 demands: the method, the HTTP version, `Host`
//! (RFC 9112, section 3.2), `Connection` and `Upgrade` (RFC 9110, section 7.8), `Sec-WebSocket-Key`
//! and `Sec-WebSocket-Version` (section 4.4). A request that fails is answered with 400, or with
//! 426 and the header that names the requirement (RFC 9110, section 15.5.22). `Origin` is the
//! subject of [`origin`](super::origin). [`accept`] builds the 101 response (section 4.2.2, step
//! 5), by fastwebsockets. [`take_upgrade`] takes hyper's upgrade, the future of the stream.

use std::fmt;
use std::iter;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::Extensions;
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, StatusCode, Version};

use super::authority::Authority;
use super::body::{Body, Response};

/// The address of the client, as a request extension.
///
/// `Server` sets it on each request. If you use another server, insert it into the request
/// yourself: [`Conn::remote_addr`](crate::Conn::remote_addr) returns this address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteAddr(pub SocketAddr);

/// Values for the connection, as a request extension. Middleware in front of a hub inserts it, for
/// example to pass on the user that it has authenticated. [`Conn::get`](crate::Conn::get) returns
/// the values.
#[derive(Debug, Clone, Default)]
pub struct ConnExtensions(pub Extensions);

/// The parameters of the matched route, as a request extension.
///
/// `Server` sets it on each request. If you use another router, insert it into the request
/// yourself: [`Conn::param`](crate::Conn::param) returns these parameters.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PathParams(
    /// Each name and each value, after its length in bytes as a `u32`. They share one block of
    /// memory, because every connection keeps its parameters.
    Box<[u8]>,
);

impl PathParams {
    /// Returns the value of the first parameter of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Returns the names and the values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.0;
        iter::from_fn(move || Some((take_text(&mut rest)?, take_text(&mut rest)?)))
    }
}

/// Takes the first name or value off `rest`.
fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (bytes, after) = rest.split_first_chunk()?;
    let (text, others) = after.split_at_checked(u32::from_ne_bytes(*bytes) as usize)?;
    *rest = others;
    str::from_utf8(text).ok()
}

/// # Panics
/// If a name or a value is 4 GiB or longer.
impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for PathParams {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(params: I) -> Self {
        let mut block = Vec::new();
        for text in params.into_iter().flat_map(|(key, value)| [key.into(), value.into()]) {
            let bytes = u32::try_from(text.len()).expect("names and values are parts of a path");
            block.extend_from_slice(&bytes.to_ne_bytes());
            block.extend_from_slice(text.as_bytes());
        }
        Self(block.into())
    }
}

impl fmt::Debug for PathParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Why a request cannot become a connection although its handshake is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoUpgrade {
    /// The request carries no upgrade that can succeed: a layer in front of the hub has removed it.
    Lost,
    /// The client has closed the connection.
    Gone,
}

/// Takes the upgrade out of a request: a future that resolves to the stream once the response has
/// been sent.
pub(crate) fn take_upgrade(parts: &mut Parts) -> Result<OnUpgrade, NoUpgrade> {
    let mut on_upgrade: OnUpgrade = parts.extensions.remove().ok_or(NoUpgrade::Lost)?;
    // For a request without an upgrade, `hyper::upgrade::on` returns an upgrade that fails at once.
    // A layer may have inserted such an upgrade after another layer had removed the real one.
    match (&mut on_upgrade).now_or_never() {
        None => Ok(on_upgrade),
        Some(Err(error)) if !error.is_user() => Err(NoUpgrade::Gone),
        Some(_) => Err(NoUpgrade::Lost),
    }
}

/// Builds the 101 response to a request that has no [`objection`].
pub(crate) fn accept(parts: Parts) -> Result<Response, Objection> {
    let mut request = Request::from_parts(parts, ());
    let accepted = fastwebsockets::upgrade::upgrade(&mut request);
    let (response, _) = accepted.map_err(|_| Objection::bad_request("handshake not understood"))?;
    Ok(response.map(|_| Body::empty()))
}

/// Whether a header of the 101 response belongs to the handshake itself, or describes a body (a 101
/// has no body).
pub(crate) fn is_reserved(name: &HeaderName) -> bool {
    const OTHERS: [HeaderName; 4] =
        [header::CONNECTION, header::UPGRADE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    name.as_str().starts_with("sec-websocket-") || OTHERS.contains(name)
}

/// The reason why a request is not a valid handshake, with the response that says so.
#[derive(Debug)]
pub(crate) struct Objection {
    /// The body of the response.
    pub(crate) reason: &'static str,
    status: StatusCode,
    /// The header of the response that names the requirement.
    required: Option<(HeaderName, &'static str)>,
}

impl Objection {
    pub(crate) fn bad_request(reason: &'static str) -> Self {
        Self { reason, status: StatusCode::BAD_REQUEST, required: None }
    }

    fn upgrade_required(reason: &'static str, required: (HeaderName, &'static str)) -> Self {
        Self { reason, status: StatusCode::UPGRADE_REQUIRED, required: Some(required) }
    }

    /// Returns the response.
    pub(crate) fn into_response(self) -> Response {
        let mut response = refusal(self.status, self.reason);
        if let Some((name, value)) = self.required {
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// Checks a handshake. Returns `None` if it is valid (RFC 6455, section 4.2.1).
pub(crate) fn objection(parts: &Parts) -> Option<Objection> {
    let headers = &parts.headers;
    if parts.version == Version::HTTP_11 && !names_its_server(parts) {
        return Some(Objection::bad_request("missing or malformed Host"));
    }
    let is_upgrade = parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && has_token(headers, header::CONNECTION, "upgrade")
        && has_token(headers, header::UPGRADE, "websocket");
    if !is_upgrade {
        let required = (header::UPGRADE, "websocket");
        return Some(Objection::upgrade_required("WebSocket upgrade required", required));
    }
    if only(headers, header::SEC_WEBSOCKET_VERSION) != Some(b"13") {
        let required = (header::SEC_WEBSOCKET_VERSION, "13");
        return Some(Objection::upgrade_required("WebSocket version 13 required", required));
    }
    // The decoder would take the body for frames.
    if has_body(headers) {
        return Some(Objection::bad_request("handshake with a body"));
    }
    match only(headers, header::SEC_WEBSOCKET_KEY) {
        Some(key) if is_key(key) => None,
        _ => Some(Objection::bad_request("missing or malformed Sec-WebSocket-Key")),
    }
}

/// Builds a response with a status and a text.
pub(crate) fn refusal(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

/// The values of `Retry-After` for clients that are refused: 1 to 8 seconds in turn, so that the
/// clients do not all come back at the same time.
#[derive(Debug, Default)]
pub(crate) struct ComeBack(AtomicU64);

impl ComeBack {
    const SECONDS_MAX: u64 = 8;

    /// Returns the seconds for the next client.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) % Self::SECONDS_MAX + 1
    }
}

/// Returns the value of a header that occurs exactly once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&[u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

/// Whether a value of the header lists this token. Case does not matter.
pub(crate) fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}

fn has_body(headers: &HeaderMap) -> bool {
    let has_length = headers.get_all(header::CONTENT_LENGTH).iter().any(|length| length != "0");
    has_length || headers.contains_key(header::TRANSFER_ENCODING)
}

/// Whether there is exactly one `Host`, and it is well formed. If the target names a host, the name
/// in the target must be well formed too.
fn names_its_server(parts: &Parts) -> bool {
    let host = only(&parts.headers, header::HOST).and_then(|host| str::from_utf8(host).ok());
    host.and_then(Authority::parse).is_some() && Authority::of(parts).is_some()
}

/// Whether this is the base64 form of 16 bytes: 22 characters and two of padding.
fn is_key(key: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key[..22].iter().all(is_base64) && key.ends_with(b"==")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_params_keep_names_and_values_of_any_characters() {
        let pairs = [("room", "lobby"), ("id", "7:1"), ("", "é\0"), ("none", ""), ("room", "hall")];
        let params: PathParams = pairs.into_iter().collect();
        assert!(params.iter().eq(pairs));
        assert_eq!(params.get("room"), Some("lobby"), "the first of a name");
        assert_eq!(params.get("none"), Some(""));
        assert_eq!(params.get("lobby"), None);
        assert_eq!(PathParams::default().get(""), None);
        assert_eq!(
            format!("{:?}", [("a", "b")].into_iter().collect::<PathParams>()),
            r#"{"a": "b"}"#
        );
    }
}
