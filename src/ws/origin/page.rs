//! The origin of a page, in the form in which a browser sends it (RFC 6454, section 6).

use crate::ws::authority::{Authority, Host};

/// The origin of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page<'a> {
    /// A page without an origin of its own, such as a sandboxed page: `null`.
    Null,
    /// A file, in browsers that do not send `null` for a file: `file://`.
    File,
    /// A page that came from a host.
    Of(Site<'a>),
}

/// A scheme, a host and a port.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) scheme: &'a str,
    pub(super) host: Host<'a>,
    /// The port that the origin names, else the default port of the scheme. `None` if the scheme
    /// has no default port.
    pub(super) port: Option<u16>,
}

impl<'a> Page<'a> {
    /// Parses `null`, `file://`, `scheme://host` or `scheme://host:port`. No text may follow.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        match text {
            "null" => Some(Self::Null),
            "file://" => Some(Self::File),
            _ => Site::parse(text).map(Self::Of),
        }
    }
}

impl<'a> Site<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        if !is_scheme(scheme) || authority.ends_with(':') {
            return None;
        }
        let Authority { host, port } = Authority::parse(authority)?;
        Some(Self { scheme, host, port: port.or(default_port(scheme)) })
    }

    /// Whether the server that `authority` names serves this site over HTTP or HTTPS. A server
    /// behind a proxy that terminates TLS does not know its own scheme, so the scheme of the page
    /// is taken for it.
    pub(super) fn is_served_by(&self, authority: &Authority<'_>) -> bool {
        let Some(default) = default_port(self.scheme) else { return false };
        authority.host == self.host && authority.port.or(Some(default)) == self.port
    }
}

impl PartialEq for Site<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host == other.host
            && self.port == other.port
    }
}

impl Eq for Site<'_> {}

/// Whether this is a scheme (RFC 3986, section 3.1).
pub(super) fn is_scheme(scheme: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_inner)
}

/// Returns the default port of `http` or `https`.
fn default_port(scheme: &str) -> Option<u16> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    if is("https") {
        return Some(443);
    }
    is("http").then_some(80)
}
