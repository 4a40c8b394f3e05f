//! The opening handshake (RFC 6455, section 4.2), on the server's side.

use std::fmt;
use std::iter;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::Extensions;
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};

/// The address of the client, as a request extension.
///
/// `Server` sets it. With a server of your own, insert it into the request, so
/// that [`Conn::remote_addr`](crate::Conn::remote_addr) knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteAddr(pub SocketAddr);

/// What the connection will carry, as a request extension: for middleware in front of a hub, such as one
/// that authenticates. See [`Conn::extensions`](crate::Conn::extensions).
#[derive(Debug, Clone, Default)]
pub struct ConnExtensions(pub Extensions);

/// The parameters of the matched route, as a request extension.
///
/// `Server` sets it. With a router of your own, insert it into the request, so
/// that [`Conn::param`](crate::Conn::param) finds them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PathParams(
    /// Each name and each value, behind its length in bytes as a `u32`. One block for them all, since
    /// every connection keeps its parameters.
    Box<[u8]>,
);

impl PathParams {
    /// The value of the parameter of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.0;
        iter::from_fn(move || Some((take_text(&mut rest)?, take_text(&mut rest)?)))
    }
}

/// Takes the first name or value out of `rest`.
fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (bytes, after) = rest.split_first_chunk()?;
    let (text, others) = after.split_at_checked(u32::from_ne_bytes(*bytes) as usize)?;
    *rest = others;
    str::from_utf8(text).ok()
}

/// # Panics
/// If a name or a value has 4 GiB.
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

/// Accepts the handshake of a request that has met with no [`objection`]: the response, and what resolves
/// when it has left.
pub(crate) fn accept(
    parts: Parts,
    protocol: Option<HeaderValue>,
) -> Option<(Response<Full<Bytes>>, OnUpgrade)> {
    let mut request = Request::from_parts(parts, ());
    // Taken out first: the future that comes with the response would allocate a reader.
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (response, _) = fastwebsockets::upgrade::upgrade(&mut request).ok()?;
    let mut response = response.map(|_| Full::default());
    if let Some(protocol) = protocol {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Some((response, on_upgrade))
}

/// The answer to a request that is no proper handshake.
pub(crate) fn objection(parts: &Parts) -> Option<Response<Full<Bytes>>> {
    let headers = &parts.headers;
    if parts.version == Version::HTTP_11 && !only(headers, header::HOST).is_some_and(is_host) {
        return Some(refusal(StatusCode::BAD_REQUEST, "missing or malformed Host"));
    }
    let is_upgrade = parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && has_token(headers, header::CONNECTION, "upgrade")
        && has_token(headers, header::UPGRADE, "websocket");
    if !is_upgrade {
        return Some(upgrade_required(
            (header::UPGRADE, "websocket"),
            "WebSocket upgrade required",
        ));
    }
    if only(headers, header::SEC_WEBSOCKET_VERSION) != Some(b"13") {
        let version = (header::SEC_WEBSOCKET_VERSION, "13");
        return Some(upgrade_required(version, "WebSocket version 13 required"));
    }
    // It would lie where frames are looked for.
    if has_body(headers) {
        return Some(refusal(StatusCode::BAD_REQUEST, "handshake with a body"));
    }
    match only(headers, header::SEC_WEBSOCKET_KEY) {
        Some(key) if is_key(key) => None,
        _ => Some(refusal(StatusCode::BAD_REQUEST, "missing or malformed Sec-WebSocket-Key")),
    }
}

/// A response that refuses a request.
pub(crate) fn refusal(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

/// The waits that are asked of those who come too early: 1 to 8 seconds in turn, so that they do not
/// all come back at once.
#[derive(Debug, Default)]
pub(crate) struct ComeBack(AtomicU64);

impl ComeBack {
    const SECONDS_MAX: u64 = 8;

    /// The seconds for the next one.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) % Self::SECONDS_MAX + 1
    }
}

fn upgrade_required(
    (name, value): (HeaderName, &'static str),
    text: &'static str,
) -> Response<Full<Bytes>> {
    let mut response = refusal(StatusCode::UPGRADE_REQUIRED, text);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(name, HeaderValue::from_static(value));
    response
}

/// The value of a header that is there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&[u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
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

/// Whether this names a host, with or without a port.
fn is_host(host: &[u8]) -> bool {
    Authority::try_from(host).is_ok()
}

/// Whether this is 16 bytes in base64: 22 characters and two of padding.
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
