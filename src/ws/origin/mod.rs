//! The check of `Origin`: which web pages may connect (RFC 6455, section 10.2; RFC 6454).
//!
//! A browser lets any page open a WebSocket to any server, with the cookies of that server, and
//! names the page in `Origin`. Other clients can send any origin, or none. So this check protects
//! the users of browsers; it does not authenticate clients.

mod page;
mod pattern;
#[cfg(test)]
mod tests;

use hyper::header;
use hyper::http::request::Parts;

use self::page::Page;
use self::pattern::Pattern;
use super::authority::Authority;

/// The pages that may connect.
#[derive(Debug, Clone)]
enum Allowed {
    /// Pages of the host that the request was sent to.
    SameHost,
    Any,
    List(Vec<Pattern>),
}

/// The rule about origins.
#[derive(Debug, Clone)]
pub(crate) struct OriginRule {
    allowed: Allowed,
    /// Whether a request without an origin is refused.
    pub(crate) is_required: bool,
}

/// The result of the check of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    Admitted,
    /// The request is refused, for this reason.
    Refused(&'static str),
    /// The request comes from this origin, which the rule does not allow. Only a check of the
    /// application can admit the request.
    NotListed(&'a str),
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

    /// Adds an origin to the list of allowed origins. The list replaces any other rule.
    ///
    /// # Errors
    /// The reason why no page can have this origin.
    pub(crate) fn allow(&mut self, origin: &str) -> Result<(), &'static str> {
        let pattern = Pattern::parse(origin)?;
        match &mut self.allowed {
            Allowed::List(list) => list.push(pattern),
            allowed => *allowed = Allowed::List(vec![pattern]),
        }
        Ok(())
    }

    /// Checks the origin of a request, if it has one.
    pub(crate) fn judge<'a>(&self, parts: &'a Parts) -> Verdict<'a> {
        let mut origins = parts.headers.get_all(header::ORIGIN).iter();
        let origin = match (origins.next(), origins.next()) {
            (None, _) if self.is_required => return Verdict::Refused("no origin"),
            (None, _) => return Verdict::Admitted,
            (Some(_), Some(_)) => return Verdict::Refused("more than one origin"),
            (Some(_), None) if matches!(self.allowed, Allowed::Any) => return Verdict::Admitted,
            (Some(origin), None) => origin,
        };
        let Ok(origin) = origin.to_str() else { return Verdict::Refused("origin not readable") };
        if Page::parse(origin).is_some_and(|page| self.allows(&page, parts)) {
            Verdict::Admitted
        } else {
            Verdict::NotListed(origin)
        }
    }

    fn allows(&self, page: &Page<'_>, parts: &Parts) -> bool {
        match (&self.allowed, page) {
            (Allowed::Any, _) => true,
            (Allowed::List(list), page) => list.iter().any(|pattern| pattern.matches(page)),
            (Allowed::SameHost, Page::Of(site)) => {
                Authority::of(parts).is_some_and(|authority| site.is_served_by(&authority))
            }
            (Allowed::SameHost, _) => false,
        }
    }
}
