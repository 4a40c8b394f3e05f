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
    /// The route parameters, and the query under the name [`QUERY`]: one block of memory.
    texts: PathParams,
    pub(super) extensions: Extensions,
}

/// The name of the query. No route parameter has it: a path ends before its first question mark.
const QUERY: &str = "?";

impl ConnInfo {
    /// Takes the data that the connection keeps out of the request.
    pub(super) fn take(parts: &mut Parts) -> Self {
        let ConnExtensions(extensions) = parts.extensions.remove().unwrap_or_default();
        let params: PathParams = parts.extensions.remove().unwrap_or_default();
        let texts = match parts.uri.query() {
            Some(query) => params.iter().chain([(QUERY, query)]).collect(),
            None => params,
        };
        Self {
            remote_addr: parts.extensions.remove::<RemoteAddr>().map(|addr| addr.0),
            texts,
            extensions,
        }
    }

    /// The value of a route parameter.
    ///
    /// # Panics
    /// If the route has no such parameter.
    #[track_caller]
    pub(super) fn param(&self, name: &str) -> &str {
        self.try_param(name).unwrap_or_else(|| {
            let names = self.texts.iter().map(|(name, _)| name).filter(|name| *name != QUERY);
            panic!("the route has no parameter {name:?}, only {:?}", names.collect::<Vec<_>>())
        })
    }

    /// The value of a route parameter; `None` if the route has no such parameter.
    pub(super) fn try_param(&self, name: &str) -> Option<&str> {
        self.texts.get(name).filter(|_| name != QUERY)
    }

    /// The values of a key in the query string, decoded, in the order of the query.
    pub(super) fn query_values(&self, key: &str) -> impl Iterator<Item = Cow<'_, str>> {
        let query = self.texts.get(QUERY).unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        pairs.filter(move |(name, _)| name == key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(uri: &str, params: PathParams) -> ConnInfo {
        let request = hyper::Request::builder().uri(uri).extension(params).body(());
        ConnInfo::take(&mut request.expect("a request").into_parts().0)
    }

    #[test]
    fn query_is_no_parameter() {
        let info = info("/?%3F=1&b=2", PathParams::default());
        assert_eq!(info.try_param(QUERY), None);
        assert_eq!(info.query_values(QUERY).collect::<Vec<_>>(), ["1"]);
        assert_eq!(info.query_values("b").collect::<Vec<_>>(), ["2"]);
        let params = PathParams::from_iter([("room", "tea")]);
        let info = self::info("/tea", params);
        assert_eq!(info.try_param("room"), Some("tea"));
        assert_eq!(info.query_values("b").count(), 0);
    }

    #[test]
    #[should_panic(expected = r#"the route has no parameter "rom", only ["tenant", "room"]"#)]
    fn a_missing_parameter_panics_with_its_name() {
        let params = PathParams::from_iter([("tenant", "acme"), ("room", "tea")]);
        let info = info("/acme/tea?rom=1", params);
        assert_eq!(info.param("room"), "tea");
        info.param("rom");
    }
}
