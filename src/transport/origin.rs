//! Which pages may connect (RFC 6455, section 10.2; RFC 6454).
//!
//! A browser lets any page open a WebSocket to any server, with the cookies of that server, and says
//! in `Origin` which page it is. Other clients send what they like, or nothing: this check is for the
//! users of browsers, and no authentication.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper::header::{self, HeaderMap};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

/// The origin of a page: a scheme, a host and a port, all in lower case.
#[derive(Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads `scheme://host` or `scheme://host:port`, and nothing after it.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let scheme = scheme.to_ascii_lowercase();
        if scheme.is_empty() || !scheme.bytes().all(is_scheme) || authority.contains('@') {
            return None;
        }
        let authority = Authority::from_str(authority).ok()?;
        let port = port_of(&authority, &scheme)?;
        Some(Self { host: authority.host().to_ascii_lowercase(), scheme, port })
    }

    /// Whether a page of this origin came from the server that `authority` names. Behind a proxy that
    /// ends TLS the server does not know its scheme, so the page's is believed.
    fn is_served_by(&self, authority: &Authority) -> bool {
        authority.host().eq_ignore_ascii_case(&self.host)
            && port_of(authority, &self.scheme) == Some(self.port)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

/// The port of an authority, by the scheme where it names none.
fn port_of(authority: &Authority, scheme: &str) -> Option<u16> {
    match (authority.port(), scheme) {
        (Some(port), _) => Some(port.as_u16()),
        // A colon with nothing, or no number, behind it.
        (None, _) if authority.as_str().len() > authority.host().len() => None,
        (None, "http" | "ws") => Some(80),
        (None, "https" | "wss") => Some(443),
        (None, _) => Some(0),
    }
}

#[derive(Debug, Clone)]
enum Allowed {
    /// Pages of the host that the request went to.
    SameHost,
    Any,
    List(Vec<Origin>),
}

/// The rule about origins.
#[derive(Debug, Clone)]
pub(crate) struct OriginRule {
    allowed: Allowed,
    /// Whether a request must have one.
    pub(crate) is_required: bool,
}

impl Default for OriginRule {
    fn default() -> Self {
        Self { allowed: Allowed::SameHost, is_required: false }
    }
}

impl OriginRule {
    pub(crate) fn allow_any(&mut self) {
        self.allowed = Allowed::Any;
    }

    /// Allows one more of a list, which replaces any other rule.
    ///
    /// # Errors
    /// It is no origin.
    pub(crate) fn allow(&mut self, origin: &str) -> Result<(), ()> {
        let origin = Origin::parse(origin).ok_or(())?;
        match &mut self.allowed {
            Allowed::List(list) => list.push(origin),
            allowed => *allowed = Allowed::List(vec![origin]),
        }
        Ok(())
    }

    /// Whether the page that a request comes from, if any, may connect.
    pub(crate) fn admits(&self, parts: &Parts) -> bool {
        let mut origins = parts.headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => !self.is_required,
            (Some(origin), None) => self.admits_origin(origin.to_str().ok(), parts),
            (Some(_), Some(_)) => false,
        }
    }

    fn admits_origin(&self, origin: Option<&str>, parts: &Parts) -> bool {
        if let Allowed::Any = self.allowed {
            return true;
        }
        // What is none is also "null": a page without an origin to speak of, as in a sandbox.
        let Some(origin) = origin.and_then(Origin::parse) else { return false };
        match &self.allowed {
            Allowed::Any => true,
            Allowed::List(list) => list.contains(&origin),
            Allowed::SameHost => authority(&parts.uri, &parts.headers)
                .is_some_and(|authority| origin.is_served_by(&authority)),
        }
    }
}

/// What a request calls the server (RFC 9112, section 3.2).
fn authority(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    if let Some(authority) = uri.authority() {
        return Some(authority.clone());
    }
    Authority::try_from(headers.get(header::HOST)?.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use hyper::header::HeaderValue;

    use super::*;

    fn parts(host: &str, origins: &[&str]) -> Parts {
        let request = Request::builder().uri("/ws").header("host", host);
        let request =
            origins.iter().fold(request, |request, origin| request.header("origin", *origin));
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn pages_of_the_same_host_and_port_are_admitted_by_default() {
        let rule = OriginRule::default();
        for (host, origin, admitted) in [
            ("a.example", "https://a.example", true),
            ("a.example", "http://a.example", true),
            ("A.example", "https://a.EXAMPLE", true),
            ("a.example:443", "https://a.example", true),
            ("a.example", "https://a.example:443", true),
            ("a.example:8080", "http://a.example:8080", true),
            ("[::1]:8080", "http://[::1]:8080", true),
            ("a.example:8080", "http://a.example", false),
            ("a.example", "https://a.example:8443", false),
            ("a.example:80", "https://a.example", false),
            ("a.example", "https://b.example", false),
            ("a.example", "https://a.example.evil", false),
            ("a.example", "https://evil-a.example", false),
            ("a.example", "https://x.a.example", false),
            ("a.example", "null", false),
            ("a.example", "", false),
            ("a.example", "https://a.example/", false),
            ("a.example", "https://a.example/path", false),
            ("a.example", "https://user@a.example", false),
            ("a.example", "https://user@a.example:443", false),
            ("a.example", "https://a.example@b.example", false),
            ("a.example", "h!://a.example", false),
            ("a.example", "https://a.example:", false),
            ("a.example", "https://a.example:99999", false),
            ("a.example", "://a.example", false),
            ("a.example", "a.example", false),
            ("", "https://a.example", false),
        ] {
            assert_eq!(rule.admits(&parts(host, &[origin])), admitted, "{origin} to {host:?}");
        }
    }

    #[test]
    fn none_means_no_browser_and_two_mean_no_good() {
        let mut rule = OriginRule::default();
        let origin = "https://a.example";
        assert!(rule.admits(&parts("a.example", &[])));
        assert!(!rule.admits(&parts("a.example", &[origin, origin])));
        rule.is_required = true;
        assert!(!rule.admits(&parts("a.example", &[])));
        assert!(rule.admits(&parts("a.example", &[origin])));
        rule.allow_any();
        assert!(rule.admits(&parts("a.example", &["https://b.example"])));
        assert!(!rule.admits(&parts("a.example", &[])));
    }

    #[test]
    fn list_is_exact_in_scheme_host_and_port_and_replaces_the_own_host() {
        let mut rule = OriginRule::default();
        assert_eq!(rule.allow("https://a.example"), Ok(()));
        assert_eq!(rule.allow("http://b.example:8080"), Ok(()));
        for (origin, admitted) in [
            ("https://a.example", true),
            ("https://a.example:443", true),
            ("http://b.example:8080", true),
            ("http://a.example", false),
            ("https://a.example:444", false),
            ("https://b.example:8080", false),
            ("http://b.example", false),
            ("https://own.example", false),
        ] {
            assert_eq!(rule.admits(&parts("own.example", &[origin])), admitted, "{origin}");
        }
    }

    #[test]
    fn scheme_without_a_port_of_its_own_can_be_allowed() {
        let mut rule = OriginRule::default();
        assert_eq!(rule.allow("chrome-extension://abcdef"), Ok(()));
        for (origin, admitted) in [
            ("chrome-extension://abcdef", true),
            ("chrome-extension://abcdeg", false),
            ("chrome-extension://abcdef:80", false),
            ("http://abcdef", false),
        ] {
            assert_eq!(rule.admits(&parts("own.example", &[origin])), admitted, "{origin}");
        }
    }

    #[test]
    fn request_that_names_the_server_in_its_uri_is_believed_over_its_host() {
        let request = Request::builder().uri("http://a.example/ws").header("host", "b.example");
        let request = request.header("origin", "http://a.example").body(()).expect("a request");
        let mut parts = request.into_parts().0;
        let rule = OriginRule::default();
        assert!(rule.admits(&parts));
        parts.headers.insert(header::ORIGIN, HeaderValue::from_static("http://b.example"));
        assert!(!rule.admits(&parts));
    }

    #[test]
    fn what_is_no_origin_cannot_be_allowed() {
        for text in ["", "a.example", "https://", "https://a/", "https://a b", "*", "https://u@a"] {
            assert_eq!(OriginRule::default().allow(text), Err(()), "{text}");
        }
    }
}
