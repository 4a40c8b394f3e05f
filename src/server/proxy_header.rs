//! The parser of the PROXY protocol, versions 1 and 2.
//!
//! See <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. A header is read to its last
//! byte and no further, so that the stream then begins with the first byte of the client.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::ws;

const V1_START: &[u8] = b"PROXY ";
/// The maximum length of a header of version 1, with the end of its line.
const V1_BYTES_MAX: usize = 107;

const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The length of the fixed part of a header of version 2: the start, the command, the address
/// family and a length.
const V2_FIXED_BYTES: usize = 16;

/// The reason why no header was read.
#[derive(Debug)]
pub(super) enum HeaderError {
    /// The bytes are not a header.
    Malformed,
    /// The connection ended or failed before the header was complete.
    Gone,
}

impl From<io::Error> for HeaderError {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Malformed;

impl From<Malformed> for HeaderError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Takes the header off the front of a stream, and returns the address of the client. `None` if the
/// proxy speaks for itself, as in health checks, or does not know the client.
///
/// Keeps at most 107 bytes. In version 2, up to 64 KiB may follow the addresses; they are skipped.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, HeaderError> {
    let mut bytes = [0; V1_BYTES_MAX];
    let mut taken = 0;
    loop {
        // Peeks, because bytes of the client may follow the header.
        let there = taken + stream.peek(&mut bytes[taken..]).await?;
        if there == taken {
            return Err(HeaderError::Gone);
        }
        let header = parse(&bytes[..there])?;
        let end = header.as_ref().map_or(there, |header| header.bytes);
        skip(stream, end - taken).await?;
        if let Some(header) = header {
            return Ok(header.client);
        }
        taken = there;
    }
}

async fn skip(stream: &mut TcpStream, mut count: usize) -> io::Result<()> {
    let mut scratch = [0; 128];
    while count > 0 {
        let most = count.min(scratch.len());
        count -= stream.read_exact(&mut scratch[..most]).await?;
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Header {
    /// The length of the header, which may be longer than the bytes that were parsed.
    bytes: usize,
    client: Option<SocketAddr>,
}

/// Parses the header at the front of `bytes`. `None` if more bytes are needed: [`V1_BYTES_MAX`] are
/// always enough.
fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let may_be = |start: &[u8]| bytes.iter().zip(start).all(|(byte, expected)| byte == expected);
    if may_be(V2_START) {
        parse_v2(bytes)
    } else if may_be(V1_START) {
        parse_v1(bytes)
    } else {
        Err(Malformed)
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_BYTES_MAX { Ok(None) } else { Err(Malformed) };
    };
    let line = str::from_utf8(&bytes[V1_START.len()..end]).map_err(|_| Malformed)?;
    let words: Vec<&str> = line.split(' ').collect();
    let client = match words[..] {
        ["UNKNOWN", ..] => None,
        ["TCP4", source, target, source_port, target_port] => {
            endpoint::<Ipv4Addr>(target, target_port)?;
            Some(endpoint::<Ipv4Addr>(source, source_port)?)
        }
        ["TCP6", source, target, source_port, target_port] => {
            endpoint::<Ipv6Addr>(target, target_port)?;
            Some(endpoint::<Ipv6Addr>(source, source_port)?)
        }
        _ => return Err(Malformed),
    };
    Ok(Some(Header { bytes: end + 2, client }))
}

fn endpoint<A: FromStr + Into<IpAddr>>(addr: &str, port: &str) -> Result<SocketAddr, Malformed> {
    let addr: A = addr.parse().map_err(|_| Malformed)?;
    Ok(SocketAddr::new(addr.into(), ws::port(port).ok_or(Malformed)?))
}

fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED_BYTES>() else { return Ok(None) };
    let [.., command, family, length_high, length_low] = *fixed;
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    let header = |client| Ok(Some(Header { bytes: V2_FIXED_BYTES + length, client }));
    let address_bytes = match (command, family) {
        // LOCAL: addresses are ignored.
        (0x20, _) => return header(None),
        (0x21, 0x11) => 4,
        (0x21, 0x21) => 16,
        // Unspecified addresses, and those of datagrams and of Unix sockets.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => return header(None),
        _ => return Err(Malformed),
    };
    // The block has two addresses and two ports.
    let block_bytes = 2 * address_bytes + 4;
    if length < block_bytes {
        return Err(Malformed);
    }
    let Some(block) = rest.get(..block_bytes) else { return Ok(None) };
    header(source_of(block, address_bytes))
}

/// Returns the source of an address block: its first address and its first port.
fn source_of(block: &[u8], address_bytes: usize) -> Option<SocketAddr> {
    let (addresses, ports) = block.split_at_checked(2 * address_bytes)?;
    let ip = match address_bytes {
        4 => IpAddr::from(*addresses.first_chunk::<4>()?),
        _ => IpAddr::from(*addresses.first_chunk::<16>()?),
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*ports.first_chunk()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a header of version 2. `rest` follows the length.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [V2_START, &[command, family], &length, rest].concat()
    }

    const V4_BLOCK: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x10, 0x92, 0, 80];

    fn v6_block() -> Vec<u8> {
        let source: Ipv6Addr = "2001:db8::7".parse().expect("an address");
        [&source.octets()[..], &[0; 16], &[0x10, 0x92, 0, 80]].concat()
    }

    /// Returns valid headers, and the clients that they name.
    fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let with_tlv = [&V4_BLOCK[..], &[0x04, 0, 2, 1, 1]].concat();
        let longest = format!(
            "PROXY UNKNOWN {0} {0} 65535 65535\r\n",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        );
        assert_eq!(longest.len(), V1_BYTES_MAX);
        vec![
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4242 80\r\n".to_vec(), Some("192.0.2.7:4242")),
            (b"PROXY TCP6 2001:db8::7 ::1 4242 80\r\n".to_vec(), Some("[2001:db8::7]:4242")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (longest.into_bytes(), None),
            (v2(0x21, 0x11, &V4_BLOCK), Some("192.0.2.7:4242")),
            (v2(0x21, 0x11, &with_tlv), Some("192.0.2.7:4242")),
            (v2(0x21, 0x21, &v6_block()), Some("[2001:db8::7]:4242")),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &V4_BLOCK), None),
            (v2(0x20, 0x99, &[1, 2, 3]), None),
            (v2(0x21, 0x00, &[]), None),
            (v2(0x21, 0x31, &[b'/'; 216]), None),
        ]
    }

    #[test]
    fn header_names_its_client_and_its_own_length() {
        for (bytes, client) in headers() {
            let client = client.map(|client| client.parse().expect("an address"));
            let expected = Header { bytes: bytes.len(), client };
            let with_more = [&bytes[..], b"GET / HTTP/1.1"].concat();
            assert_eq!(parse(&with_more), Ok(Some(expected)), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn incomplete_header_needs_more_bytes_but_never_more_than_the_bound() {
        for (bytes, _) in headers() {
            for end in 0..bytes.len() {
                let parsed = parse(&bytes[..end]).expect("it may become one");
                let is_known = parsed.is_some_and(|header| header.bytes == bytes.len());
                // A header of version 2 is known before its last byte has arrived.
                assert!(is_known || parse(&bytes[..end]) == Ok(None), "{end}");
                assert!(is_known || end < V1_BYTES_MAX);
            }
        }
    }

    #[test]
    fn other_bytes_are_malformed() {
        let short = v2(0x21, 0x11, &V4_BLOCK[..11]);
        let endless = [V1_START, &[b'1'; 101]].concat();
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x16\x03\x01",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4242\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4242 80 9\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 4242 80\r\n",
            b"PROXY TCP6 192.0.2.7 10.0.0.1 4242 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 +42 80\r\n",
            b"PROXY TCP4  192.0.2.7 10.0.0.1 42 80\r\n",
            b"PROXY UDP4 192.0.2.7 10.0.0.1 4242 80\r\n",
            b"PROXY \xff\r\n",
            b"PROXY \r\n",
            &endless,
            &short,
            &v2(0x11, 0x11, &V4_BLOCK),
            &v2(0x22, 0x11, &V4_BLOCK),
            &v2(0x21, 0x41, &V4_BLOCK),
            &v2(0x21, 0x13, &V4_BLOCK),
        ] {
            assert_eq!(parse(bytes), Err(Malformed), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn parser_never_panics_and_never_needs_more_than_the_bound() {
        let mut dice = fastrand::Rng::with_seed(7);
        let headers = headers();
        for _ in 0..200_000 {
            let mut bytes = dice.choice(&headers).expect("there are some").0.clone();
            for _ in 0..dice.usize(1..4) {
                let at = dice.usize(..bytes.len());
                bytes[at] = dice.u8(..);
            }
            bytes.resize(V1_BYTES_MAX, b' ');
            assert!(!matches!(parse(&bytes), Ok(None)), "{}", bytes.escape_ascii());
        }
    }
}
