//! The authority of a request: the host that it names, with an optional port (RFC 3986, sections
//! 3.2.2 and 3.2.3).
//!
//! hyper's own parser accepts more: a user before the host, a port that is not a number, any text
//! in brackets. So this module parses the text again.

use std::net::Ipv6Addr;

use hyper::header;
use hyper::http::request::Parts;

/// A host with an optional port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    pub(super) host: Host<'a>,
    /// `None` if there is no port, or only a colon.
    pub(super) port: Option<u16>,
}

/// A host.
#[derive(Debug, Clone, Copy)]
pub(super) enum Host<'a> {
    /// An IPv6 address, which has brackets around it.
    V6(Ipv6Addr),
    /// A name of one character or more, or an IPv4 address.
    Name(&'a str),
}

impl<'a> Authority<'a> {
    /// Returns the server that the request names (RFC 9112, section 3.2): its target has precedence
    /// over `Host`.
    pub(super) fn of(parts: &'a Parts) -> Option<Self> {
        match parts.uri.authority() {
            Some(authority) => Self::parse(authority.as_str()),
            None => Self::parse(parts.headers.get(header::HOST)?.to_str().ok()?),
        }
    }

    /// Parses a host, or a host with a colon and a port of 0 to 65,535. No text may follow.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(bracketed) => {
                let (address, rest) = bracketed.split_once(']')?;
                (Host::V6(address.parse().ok()?), rest)
            }
            None => {
                let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
                (is_name(name).then_some(Host::Name(name))?, rest)
            }
        };
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            None => return None,
            Some("") => None,
            Some(digits) => Some(port(digits)?),
        };
        Some(Self { host, port })
    }
}

/// Names are compared without regard to case.
impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::V6(one), Self::V6(other)) => one == other,
            (Self::Name(one), Self::Name(other)) => one.eq_ignore_ascii_case(other),
            _ => false,
        }
    }
}

impl Eq for Host<'_> {}

/// Whether `name` is a `reg-name` of RFC 3986, and not empty (RFC 9110, section 4.2.1).
fn is_name(name: &str) -> bool {
    let mut parts = name.split('%');
    let is_plain = |part: &str| part.bytes().all(is_plain);
    let is_escape = |part: &str| {
        let digits = part.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    !name.is_empty()
        && parts.next().is_some_and(is_plain)
        && parts.all(|part| is_escape(part) && is_plain(part))
}

/// Whether `byte` is in `unreserved` or `sub-delims` of RFC 3986.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

/// Parses a port of digits alone. `str::parse` would also accept a sign.
pub(crate) fn port(digits: &str) -> Option<u16> {
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| digits.parse().ok()).flatten()
}
