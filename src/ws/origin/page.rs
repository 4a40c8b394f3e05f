//! The origin of a page, as a browser says it (RFC 6454, section 6).

use crate::ws::authority::{Authority, Host};

/// The origin of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page<'a> {
    /// A page without an origin of its own, as in a sandbox: `null`.
    Null,
    /// A file, in browsers that do not say `null` for it: `file://`.
    File,
    /// A page that came from a host.
    Of(Site<'a>),
}

/// A scheme, a host and a port.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) scheme: &'a str,
    pub(super) host: Host<'a>,
    /// The scheme's own where none was named; `None` for a scheme that has none.
    pub(super) port: Option<u16>,
}

impl<'a> Page<'a> {
    /// Reads `null`, `file://`, `scheme://host` or `scheme://host:port`, and nothing after it.
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

    /// Whether a page of this site came from the server that `authority` names, by HTTP. Behind a proxy
    /// that ends TLS the server does not know its scheme, so the page's is believed.
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

/// RFC 3986, section 3.1.
pub(super) fn is_scheme(scheme: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_inner)
}

/// The port of a scheme over which browsers get pages from hosts.
fn default_port(scheme: &str) -> Option<u16> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    if is("https") {
        return Some(443);
    }
    is("http").then_some(80)
}
