//! [`ConnInfo`]: the data that a connection keeps from its handshake.

use std::borrow::Cow;
use std::net::SocketAddr;

use hyper::http::Extensions;
use hyper::http::request::Parts;

use crate::ws::{ConnExtensions, PathParams, RemoteAddr};

/// The address, the route parameters and the query of the request, and the values that were
/// attached to it.
#[derive(Default)]
pub(super) struct ConnInfo {
    pub(super) remote_addr: Option<SocketAddr>,
    pub(super) params: PathParams,
    query: Option<Box<str>>,
    pub(super) extensions: Extensions,
}

impl ConnInfo {
    /// Takes the data that the connection keeps out of the request.
    pub(super) fn take(parts: &mut Parts) -> Self {
        let ConnExtensions(extensions) = parts.extensions.remove().unwrap_or_default();
        Self {
            remote_addr: parts.extensions.remove::<RemoteAddr>().map(|addr| addr.0),
            params: parts.extensions.remove::<PathParams>().unwrap_or_default(),
            query: parts.uri.query().map(Box::from),
            extensions,
        }
    }

    /// The value of a route parameter.
    ///
    /// # Panics
    /// If the route has no such parameter.
    #[track_caller]
    pub(super) fn param(&self, name: &str) -> &str {
        self.params.get(name).unwrap_or_else(|| {
            panic!(
                "the route has no parameter {name:?}, only {:?}",
                self.params.names().collect::<Vec<_>>()
            )
        })
    }

    /// The values of a key in the query string, decoded, in the order of the query.
    pub(super) fn query_values(&self, key: &str) -> impl Iterator<Item = Cow<'_, str>> {
        let query = self.query.as_deref().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        pairs.filter(move |(name, _)| name == key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = r#"the route has no parameter "rom", only ["tenant", "room"]"#)]
    fn a_missing_parameter_panics_with_its_name() {
        let params = PathParams::from_iter([("tenant", "acme"), ("room", "tea")]);
        let info = ConnInfo { params, ..ConnInfo::default() };
        assert_eq!(info.param("room"), "tea");
        info.param("rom");
    }
}
