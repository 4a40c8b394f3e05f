//! The address of a client, from a header that proxies set.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{self, HeaderMap, HeaderName};

use super::RemoteAddr;

impl RemoteAddr {
    /// Returns the address of the client, from the header in which trusted proxies name it.
    ///
    /// `peer` is the other end of the connection. If `is_trusted` holds for `peer`, the last
    /// address of the header is the address that this proxy has seen. If that address is trusted
    /// too, the address before it counts, and so on: the client is the right-most address that is
    /// not trusted. A client can write any text to the left of its own address. If the header is
    /// missing, or if the next address in it is hidden (`unknown`, `_name`) or malformed, the last
    /// trusted proxy counts as the client.
    ///
    /// `name` is the header that *your* proxy sets. [`FORWARDED`](header::FORWARDED) is parsed as
    /// in RFC 7239. Any other header is parsed as a list of addresses with or without ports, as in
    /// `X-Forwarded-For`, or as a single address. **Name a header only if the proxy sets it**: a
    /// proxy that sets one of these headers usually passes on the others as the client sent them.
    ///
    /// The port is 0 if the header names no port, which is usual. `is_trusted` gets an IPv4 address
    /// that is mapped to IPv6 as an IPv4 address. Cost: the header is read from its end to the
    /// client's address, and nothing is allocated.
    ///
    /// # Examples
    /// ```
    /// use roomcast::RemoteAddr;
    /// use roomcast::header::{HeaderMap, HeaderName, HeaderValue};
    ///
    /// let name = HeaderName::from_static("x-forwarded-for");
    /// let mut headers = HeaderMap::new();
    /// headers.insert(&name, HeaderValue::from_static("198.51.100.1, 192.0.2.7, 10.0.0.2"));
    /// let peer = "10.0.0.1:4242".parse()?;
    ///
    /// let is_proxy = |addr: std::net::IpAddr| matches!(addr, std::net::IpAddr::V4(v4) if v4.is_private());
    /// let client = RemoteAddr::from_forwarded(peer, &headers, &name, is_proxy);
    /// assert_eq!(client, RemoteAddr("192.0.2.7:0".parse()?));
    /// # Ok::<_, std::net::AddrParseError>(())
    /// ```
    pub fn from_forwarded(
        peer: SocketAddr,
        headers: &HeaderMap,
        name: &HeaderName,
        is_trusted: impl Fn(IpAddr) -> bool,
    ) -> Self {
        let is_standard = name == header::FORWARDED;
        let mut client = peer;
        let lines = headers.get_all(name).iter().rev().map(|line| line.as_bytes());
        for element in lines.flat_map(|line| rsplit(line, b',')).filter(|line| !line.is_empty()) {
            if !is_trusted(client.ip().to_canonical()) {
                break;
            }
            let node = if is_standard { for_value(element) } else { Some(element) };
            let Some(addr) = node.and_then(address) else { break };
            client = addr;
        }
        Self(client)
    }
}

/// Splits a line at the separators that are not in quotes, from the right. Blanks around the parts
/// are left out.
///
/// The order matters: a client writes to the left of the proxies. So nothing that a client has
/// written, such as a quote that does not end, changes how the elements of the proxies are parsed.
fn rsplit(line: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let Some(at) = last_unquoted(line, separator) else {
            return rest.take().map(<[u8]>::trim_ascii);
        };
        rest = Some(&line[..at]);
        Some(line[at + 1..].trim_ascii())
    })
}

fn last_unquoted(line: &[u8], separator: u8) -> Option<usize> {
    let mut is_quoted = false;
    line.iter().enumerate().rposition(|(at, byte)| {
        if *byte == b'"' && !(is_quoted && is_escaped(&line[..at])) {
            is_quoted = !is_quoted;
        }
        *byte == separator && !is_quoted
    })
}

/// Whether the byte after `before` is escaped: `before` ends with an odd number of backslashes.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Returns the value of `for` in an element of `Forwarded`, if the element has exactly one.
fn for_value(element: &[u8]) -> Option<&[u8]> {
    let mut nodes = rsplit(element, b';').filter_map(|pair| {
        let (name, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=')?);
        name.eq_ignore_ascii_case(b"for").then_some(&value[1..])
    });
    nodes.next().filter(|_| nodes.next().is_none())
}

/// Parses the address of a node: an IPv4 or IPv6 address, with or without quotes, brackets and a
/// port.
fn address(node: &[u8]) -> Option<SocketAddr> {
    let text = str::from_utf8(node).ok()?;
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if let Ok(addr) = text.parse() {
        return Some(addr);
    }
    let host = match text.strip_prefix('[') {
        Some(text) => {
            let (host, port) = text.split_once(']')?;
            is_hidden_port(port).then_some(host)?
        }
        None => text.find(":_").map_or(text, |at| &text[..at]),
    };
    Some(SocketAddr::new(host.parse().ok()?, 0))
}

/// Whether the port is missing or obfuscated (RFC 7239, section 6.2).
fn is_hidden_port(port: &str) -> bool {
    port.is_empty() || port.starts_with(":_")
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

    /// Returns the client that the lines of a header name. The peer is `10.0.0.1:1`; `10.0.0.0/8`
    /// and `fd00::/8` are trusted.
    fn client(name: &HeaderName, lines: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line).expect("a line"));
        }
        let is_trusted = |addr| match addr {
            IpAddr::V4(addr) => addr.octets()[0] == 10,
            IpAddr::V6(addr) => addr.octets()[0] == 0xfd,
        };
        let peer = "10.0.0.1:1".parse().expect("an address");
        RemoteAddr::from_forwarded(peer, &headers, name, is_trusted).0.to_string()
    }

    #[test]
    fn right_most_address_that_is_not_trusted_is_the_client() {
        for (lines, expected) in [
            (&[][..], "10.0.0.1:1"),
            (&[&b""[..]][..], "10.0.0.1:1"),
            (&[b"192.0.2.7"], "192.0.2.7:0"),
            (&[b"198.51.100.1, 192.0.2.7"], "192.0.2.7:0"),
            (&[b"198.51.100.1,192.0.2.7 ,10.0.0.3,\t10.0.0.2"], "192.0.2.7:0"),
            (&[b"198.51.100.1", b"192.0.2.7", b"10.0.0.2"], "192.0.2.7:0"),
            (&[b"192.0.2.7, , 10.0.0.2,"], "192.0.2.7:0"),
            (&[b"10.0.0.4, 10.0.0.3"], "10.0.0.4:0"),
            (&[b"::ffff:10.0.0.3, 192.0.2.7, ::ffff:10.0.0.2"], "192.0.2.7:0"),
            (&[b"192.0.2.7:4242"], "192.0.2.7:4242"),
            (&[b"2001:db8::7"], "[2001:db8::7]:0"),
            (&[b"[2001:db8::7]"], "[2001:db8::7]:0"),
            (&[b"[2001:db8::7]:4242, fd00::1"], "[2001:db8::7]:4242"),
        ] {
            assert_eq!(client(&FORWARDED_FOR, lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn proxy_counts_as_the_client_that_it_hides() {
        for line in [
            &b"unknown"[..],
            b"192.0.2.7, unknown",
            b"192.0.2.7, _hidden",
            b"192.0.2.7, 192.0.2",
            b"192.0.2.7, 192.0.2.7:65536",
            b"192.0.2.7, [2001:db8::7",
            b"192.0.2.7, [2001:db8::7]80",
            b"192.0.2.7, \xff",
        ] {
            assert_eq!(client(&FORWARDED_FOR, &[line]), "10.0.0.1:1", "{}", line.escape_ascii());
        }
        assert_eq!(client(&FORWARDED_FOR, &[b"192.0.2.7, unknown, 10.0.0.2"]), "10.0.0.2:0");
    }

    #[test]
    fn standard_header_is_read_as_its_rfc_says() {
        for (line, expected) in [
            (r"for=192.0.2.7", "192.0.2.7:0"),
            (r"For=192.0.2.7;proto=http;by=10.0.0.1", "192.0.2.7:0"),
            (r#"proto=http; for="192.0.2.7:4242""#, "192.0.2.7:4242"),
            (r#"for="[2001:db8::7]""#, "[2001:db8::7]:0"),
            (r#"for="[2001:db8::7]:4242""#, "[2001:db8::7]:4242"),
            (r#"for="[2001:db8::7]:_hidden""#, "[2001:db8::7]:0"),
            (r#"for="192.0.2.7:_hidden""#, "192.0.2.7:0"),
            ("for=198.51.100.1, for=192.0.2.7, for=10.0.0.2", "192.0.2.7:0"),
            (r"for=192.0.2.7, for=unknown", "10.0.0.1:1"),
            (r#"for=192.0.2.7, for="_hidden""#, "10.0.0.1:1"),
            (r"for=192.0.2.7, by=10.0.0.1;proto=https", "10.0.0.1:1"),
            (r"for=192.0.2.7;for=192.0.2.8", "10.0.0.1:1"),
            (r"192.0.2.7", "10.0.0.1:1"),
        ] {
            assert_eq!(client(&header::FORWARDED, &[line.as_bytes()]), expected, "{line}");
        }
    }

    #[test]
    fn text_of_a_client_does_not_change_how_the_text_of_a_proxy_is_read() {
        let of_proxy = br#"for=192.0.2.7;host="a\"b,c;\\""#;
        for of_client in [
            &br#"for=""#[..],
            br#"for=10.0.0.9;x="#,
            br#"for=10.0.0.9;x=""#,
            br#"for=10.0.0.9;x="\"#,
            br#"for="10.0.0.9"#,
            br#"for=10.0.0.9""#,
            br"for=10.0.0.9\",
            b"\xff\xfe",
            b"\"\"\"",
            b",,;;==",
        ] {
            let line = [of_client, b", ", of_proxy].concat();
            let told = client(&header::FORWARDED, &[&line]);
            assert_eq!(told, "192.0.2.7:0", "{}", of_client.escape_ascii());
            let line = [of_client, b", 192.0.2.7"].concat();
            let told = client(&FORWARDED_FOR, &[&line]);
            assert_eq!(told, "192.0.2.7:0", "{}", of_client.escape_ascii());
        }
    }

    #[test]
    fn header_of_another_name_is_not_read() {
        assert_eq!(client(&header::FORWARDED, &[]), "10.0.0.1:1");
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, HeaderValue::from_static("192.0.2.7"));
        let peer = "10.0.0.1:1".parse().expect("an address");
        let client = RemoteAddr::from_forwarded(peer, &headers, &header::FORWARDED, |_| true);
        assert_eq!(client, RemoteAddr(peer));
    }
}
