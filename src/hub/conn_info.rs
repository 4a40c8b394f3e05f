//! What the handshake told of a connection, and what was attached to it there.

use std::borrow::Cow;
use std::net::SocketAddr;

use hyper::http::Extensions;
use hyper::http::request::Parts;

use crate::ws::{ConnExtensions, PathParams, RemoteAddr};

#[derive(Default)]
pub(super) struct ConnInfo {
    pub(super) remote_addr: Option<SocketAddr>,
    pub(super) params: PathParams,
    query: Option<Box<str>>,
    pub(super) extensions: Extensions,
}

impl ConnInfo {
    /// Takes out of the request what its connection keeps.
    pub(super) fn take(parts: &mut Parts) -> Self {
        let ConnExtensions(extensions) = parts.extensions.remove().unwrap_or_default();
        Self {
            remote_addr: parts.extensions.remove::<RemoteAddr>().map(|addr| addr.0),
            params: parts.extensions.remove::<PathParams>().unwrap_or_default(),
            query: parts.uri.query().map(Box::from),
            extensions,
        }
    }

    /// A parameter that the route must have.
    #[track_caller]
    pub(super) fn param(&self, name: &str) -> &str {
        self.params.get(name).unwrap_or_else(|| {
            panic!(
                "the route has no parameter {name:?}, only {:?}",
                self.params.names().collect::<Vec<_>>()
            )
        })
    }

    /// The values of a key in the query string, decoded, in their order.
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
    fn a_parameter_that_the_route_lacks_is_a_panic_with_its_name() {
        let params = PathParams::from_iter([("tenant", "acme"), ("room", "tea")]);
        let info = ConnInfo { params, ..ConnInfo::default() };
        assert_eq!(info.param("room"), "tea");
        info.param("rom");
    }
}
