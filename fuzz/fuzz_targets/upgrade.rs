//! The opening handshake accepts and refuses requests as a literal reading of RFC 6455, section 4.2.1, says.
//!
//! The input is a request as text: `GET 1.1`, then one header a line.
#![no_main]

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{self, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use libfuzzer_sys::fuzz_target;
use roomcast::internals::upgrade;
use sha1::{Digest, Sha1};

fuzz_target!(|input: &[u8]| {
    let Some(request) = request(input) else { return };
    let (parts, ()) = request.into_parts();
    let faults = faults(&parts.method, parts.version, &parts.headers);
    let key = parts.headers.get("sec-websocket-key").cloned();
    let response = upgrade(parts).expect("a request without a fault is accepted");
    let status = response.status();
    if faults.is_empty() {
        assert_eq!(status, StatusCode::SWITCHING_PROTOCOLS);
        check_accepted(response.headers(), key.expect("a request without a fault has a key"));
    } else {
        // With several faults, the status may be that of any of them.
        assert!(faults.contains(&status), "{status}, for {faults:?}");
        assert!(!response.headers().contains_key("sec-websocket-accept"));
        if status == StatusCode::UPGRADE_REQUIRED {
            check_required(response.headers());
        }
    }
});

/// Checks the rules of section 4.2.1, in order. Returns the status that answers each broken rule.
fn faults(method: &Method, version: Version, headers: &HeaderMap) -> Vec<StatusCode> {
    // HTTP/2 has no upgrade: there it would be an extended CONNECT, RFC 8441.
    let is_get = method == Method::GET && version == Version::HTTP_11;
    let rules = [
        (is_get, StatusCode::UPGRADE_REQUIRED),
        (the_only(headers, "host").is_some_and(is_host), StatusCode::BAD_REQUEST),
        (has_token(headers, "upgrade", b"websocket"), StatusCode::UPGRADE_REQUIRED),
        (has_token(headers, "connection", b"upgrade"), StatusCode::UPGRADE_REQUIRED),
        (the_only(headers, "sec-websocket-key").is_some_and(is_key), StatusCode::BAD_REQUEST),
        (
            the_only(headers, "sec-websocket-version").is_some_and(|version| version == b"13"),
            StatusCode::UPGRADE_REQUIRED,
        ),
        // Not a rule of the RFC: a body would be read as frames.
        (!has_body(headers), StatusCode::BAD_REQUEST),
    ];
    rules.into_iter().filter(|(is_kept, _)| !is_kept).map(|(_, status)| status).collect()
}

/// Whether this is a non-empty host of RFC 3986, 3.2.2, with or without a port of 3.2.3. Future IP versions (`[v1.a]`)
/// are refused, because nobody knows them, and a port has 16 bits.
fn is_host(host: &[u8]) -> bool {
    let Ok(host) = str::from_utf8(host) else { return false };
    // The last colon outside of brackets.
    let colon = host.rfind(':').filter(|colon| !host[*colon..].contains(']'));
    let (name, port) = host.split_at(colon.unwrap_or(host.len()));
    is_port(port) && (is_address(name) || is_registered(name))
}

fn is_port(port: &str) -> bool {
    let digits = port.trim_start_matches(':').trim_start_matches('0');
    // A number of six digits would fit into a u32, but is never a port.
    let is_number = digits.len() < 6 && digits.chars().all(|digit| digit.is_ascii_digit());
    is_number && (digits.is_empty() || digits.parse::<u32>().is_ok_and(|port| port <= 65_535))
}

fn is_address(name: &str) -> bool {
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

fn is_registered(name: &str) -> bool {
    let mut characters = name.chars();
    while let Some(character) = characters.next() {
        let is_fine = match character {
            '%' => (0..2).all(|_| characters.next().is_some_and(|c| c.is_ascii_hexdigit())),
            _ => character.is_ascii_alphanumeric() || "-._~!$&'()*+,;=".contains(character),
        };
        if !is_fine {
            return false;
        }
    }
    !name.is_empty()
}

fn has_body(headers: &HeaderMap) -> bool {
    let has_length = headers.get_all("content-length").iter().any(|length| length != "0");
    has_length || headers.contains_key("transfer-encoding")
}

/// The value of a header that must not come twice, section 11.3.
fn the_only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let values: Vec<_> = headers.get_all(name).iter().collect();
    match values[..] {
        [value] => Some(value.as_bytes()),
        _ => None,
    }
}

fn has_token(headers: &HeaderMap, name: &str, token: &[u8]) -> bool {
    headers.get_all(name).iter().any(|value| {
        let value = value.as_bytes();
        // A value is ignored if not all of it is a list of tokens.
        let is_text = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
        is_text && value.split(|byte| *byte == b',').any(|part| is_token(part, token))
    })
}

fn is_token(part: &[u8], token: &[u8]) -> bool {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(start) = part.iter().position(|byte| !is_space(byte)) else { return false };
    let end = part.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    part[start..end].eq_ignore_ascii_case(token)
}

/// Whether this is Base64 of 16 bytes. The spare bits of the last character are not checked.
fn is_key(key: &[u8]) -> bool {
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let decoded = GeneralPurpose::new(&STANDARD, config).decode(key);
    decoded.is_ok_and(|decoded| decoded.len() == 16)
}

fn check_accepted(headers: &HeaderMap, key: HeaderValue) {
    let accept = Sha1::new()
        .chain_update(key.as_bytes())
        .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    let accept = general_purpose::STANDARD.encode(accept);
    assert_eq!(the_only(headers, "sec-websocket-accept"), Some(accept.as_bytes()));
    assert!(has_token(headers, "connection", b"upgrade"));
    assert!(has_token(headers, "upgrade", b"websocket"));
    assert!(!headers.contains_key("sec-websocket-extensions"));
    assert!(!headers.contains_key("sec-websocket-protocol"));
}

/// Checks a 426 response: it names the required protocol (RFC 9110, 15.5.22) and the known versions (RFC 6455, 4.4).
fn check_required(headers: &HeaderMap) {
    assert!(has_token(headers, "connection", b"upgrade"));
    assert!(has_token(headers, "upgrade", b"websocket"));
    let version = headers.get("sec-websocket-version");
    assert!(version.is_none_or(|version| version == "13"));
}

/// Parses the request in the input; skips lines that are not headers.
fn request(input: &[u8]) -> Option<Request<()>> {
    let mut lines = input.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.splitn(2, |byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let version = match words.next()? {
        b"1.0" => Version::HTTP_10,
        b"1.1" => Version::HTTP_11,
        b"2" => Version::HTTP_2,
        b"3" => Version::HTTP_3,
        _ => return None,
    };
    let mut request = Request::builder().method(method).version(version).body(()).ok()?;
    for line in lines.take(50) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|v| HeaderValue::from_bytes(v.trim_ascii()).ok());
        if let (Some(name), Some(value)) = (name, value) {
            request.headers_mut().append(name, value);
        }
    }
    Some(request)
}
