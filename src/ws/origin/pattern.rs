//! The patterns of the origins that an application allows.
//!
//! A browser writes each host in one form only (WHATWG URL, section 3.5). A pattern with a host in
//! another form would never match. Such a pattern is refused, with the reason, when the application
//! adds it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::page::{Page, Site, is_scheme};
use crate::ws::authority::Host;

/// Pages that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    Null,
    File,
    Sites { scheme: Box<str>, hosts: Hosts, port: Option<u16> },
}

/// One host, or many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hosts {
    V6(Ipv6Addr),
    Name(Box<str>),
    /// All names that end with this text, which starts with a dot.
    Below(Box<str>),
}

impl Pattern {
    /// Parses an origin. The first label of its host may be `*`.
    ///
    /// # Errors
    /// The reason why no page can have this origin.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "*" => return Err("`allow_any_origin` allows all pages"),
            "null" => return Ok(Self::Null),
            "file://" => return Ok(Self::File),
            _ => {}
        }
        let (scheme, authority) = text.split_once("://").ok_or("it has no scheme")?;
        check_scheme(scheme)?;
        let parent = authority.strip_prefix("*.");
        let authority = parent.unwrap_or(authority);
        check_characters(authority)?;
        let origin = format!("{scheme}://{authority}");
        let Some(Page::Of(site)) = Page::parse(&origin) else {
            return Err("it has no valid host or port");
        };
        let hosts = Hosts::of(&site, authority, parent.is_some())?;
        match site.port {
            Some(0) => Err("no page comes from port 0"),
            port => Ok(Self::Sites { scheme: scheme.into(), hosts, port }),
        }
    }

    pub(super) fn matches(&self, page: &Page<'_>) -> bool {
        match (self, page) {
            (Self::Null, Page::Null) | (Self::File, Page::File) => true,
            (Self::Sites { scheme, hosts, port }, Page::Of(site)) => {
                scheme.eq_ignore_ascii_case(site.scheme)
                    && *port == site.port
                    && hosts.contain(site.host)
            }
            _ => false,
        }
    }
}

impl Hosts {
    /// Returns the hosts of a pattern. `authority` is its text without `*.`.
    fn of(site: &Site<'_>, authority: &str, are_below: bool) -> Result<Self, &'static str> {
        match site.host {
            Host::V6(_) if are_below => Err("no name is below an address"),
            Host::V6(addr) if is_as_browsers_write(authority, addr) => Ok(Self::V6(addr)),
            Host::V6(_) => Err("browsers write an IPv6 address in its shortest form, as in [::1]"),
            Host::Name(name) if !ends_in_number(name) => Ok(if are_below {
                Self::Below(format!(".{name}").into())
            } else {
                Self::Name(name.into())
            }),
            Host::Name(_) if are_below => Err("no name is below an address"),
            Host::Name(name) if name.parse::<Ipv4Addr>().is_ok() => Ok(Self::Name(name.into())),
            Host::Name(_) => Err("browsers write an IPv4 address as four decimal numbers"),
        }
    }

    fn contain(&self, host: Host<'_>) -> bool {
        match (self, host) {
            (Self::V6(addr), host) => host == Host::V6(*addr),
            (Self::Name(name), host) => host == Host::Name(name),
            (Self::Below(end), Host::Name(name)) => is_below(name, end),
            (Self::Below(_), Host::V6(_)) => false,
        }
    }
}

/// Whether the name ends with `end`, after one label or more. No label may be empty.
fn is_below(name: &str, end: &str) -> bool {
    let start = name.len().checked_sub(end.len());
    let Some((labels, rest)) = start.and_then(|start| name.split_at_checked(start)) else {
        return false;
    };
    rest.eq_ignore_ascii_case(end) && labels.split('.').all(|label| !label.is_empty())
}

fn check_scheme(scheme: &str) -> Result<(), &'static str> {
    match scheme.to_ascii_lowercase().as_str() {
        "ws" | "wss" => Err("the origin of a page starts with http:// or https://"),
        "null" | "file" | "data" | "about" | "blob" => {
            Err("browsers call such a page `null` or `file://`")
        }
        scheme if is_scheme(scheme) => Ok(()),
        _ => Err("its scheme is malformed"),
    }
}

fn check_characters(authority: &str) -> Result<(), &'static str> {
    if !authority.is_ascii() {
        return Err("browsers write a name in ASCII: use its punycode, which starts with xn--");
    }
    for (characters, reason) in [
        ("/?#\\", "an origin ends with its host or port"),
        ("@", "an origin has no user"),
        ("*", "`*` can stand only for the first labels of a name, as in https://*.example.com"),
        ("%", "browsers decode percent-encoded names"),
    ] {
        if authority.contains(|character| characters.contains(character)) {
            return Err(reason);
        }
    }
    Ok(())
}

/// Whether browsers read the name as an IPv4 address (WHATWG URL, "ends in a number").
fn ends_in_number(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_decimal = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let digits = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    is_decimal || digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether the address is written as in RFC 5952, but without decimal parts. Case does not matter.
fn is_as_browsers_write(authority: &str, addr: Ipv6Addr) -> bool {
    let written = match (addr.to_ipv4_mapped(), addr.segments()) {
        (Some(_), [.., high, low]) => format!("[::ffff:{high:x}:{low:x}]"),
        (None, _) => format!("[{addr}]"),
    };
    authority.to_ascii_lowercase().starts_with(&written)
}
