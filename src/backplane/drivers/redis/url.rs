//! Reading the URL of a server, with errors that say how to correct the URL.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::explain::explain;
use super::secret::Secret;
use super::server_addr::ServerAddr;
use crate::backplane::contract::BackplaneError;

/// The schemes, and the transport that each stands for.
const SCHEMES: [(&str, Transport); 7] = [
    ("redis://", Transport::Tcp),
    ("valkey://", Transport::Tcp),
    ("rediss://", Transport::Tls),
    ("valkeys://", Transport::Tls),
    ("unix://", Transport::Socket),
    ("redis+unix://", Transport::Socket),
    ("valkey+unix://", Transport::Socket),
];

/// A hint for URLs whose password has special characters.
const ENCODING: &str = "in a user or a password of a URL, special characters are percent-encoded: @ as %40, \
     : as %3A, / as %2F, ? as %3F, # as %23, % as %25";

/// How to connect to a server.
#[derive(Clone, Copy, PartialEq)]
enum Transport {
    Tcp,
    Tls,
    Socket,
}

/// The contents of a URL.
pub(super) struct ParsedUrl {
    pub(super) address: ServerAddr,
    pub(super) info: ConnectionInfo,
    pub(super) secret: Secret,
}

/// Reads a URL. If it has no port, the default port is used.
///
/// # Errors
/// The URL cannot be read, or can never work. The error does not contain the URL, because the
/// position of the password in it is not known.
pub(super) fn read(url: &str, default_port: u16) -> Result<ParsedUrl, BackplaneError> {
    let transport = transport(url)?;
    let has_credentials = url.contains('@');
    if transport != Transport::Socket {
        check_credentials(url)?;
    }
    let typed = Secret::new(url, None);
    let info = url.into_connection_info().map_err(|error| match explain(&error, &typed) {
        BackplaneError::Settings(text) if has_credentials => {
            settings(format!("{text}; {ENCODING}"))
        }
        error => error,
    })?;
    check_database(&info)?;
    let secret = Secret::new(url, info.redis_settings().password());
    let (address, info) = locate(url, info, default_port)?;
    Ok(ParsedUrl { address, info, secret })
}

/// Returns the transport of a URL. Installs the provider of cryptography if the transport is TLS.
fn transport(url: &str) -> Result<Transport, BackplaneError> {
    let scheme = SCHEMES.iter().find(|(scheme, _)| url.starts_with(scheme));
    let &(scheme, transport) = scheme.ok_or_else(usage)?;
    if transport == Transport::Tls && !cfg!(feature = "redis-tls") {
        let text = format!("{scheme} needs the feature `redis-tls` of roomcast, which is disabled");
        return Err(settings(text));
    }
    #[cfg(feature = "redis-tls")]
    if transport == Transport::Tls {
        // An error means that the program has installed a provider itself, which works, too.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    if transport == Transport::Tls && url.ends_with("#insecure") {
        let text =
            "#insecure has no effect: RedisTls::danger_accept_invalid_certificates is the setting";
        return Err(settings(text));
    }
    Ok(transport)
}

/// Refuses a URL whose host ends before the last `@`: then the user or the password contains a
/// special character that is not encoded, and ends that part of the URL too early.
fn check_credentials(url: &str) -> Result<(), BackplaneError> {
    let (_, rest) = url.split_once("://").ok_or_else(usage)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    if rest[end..].contains('@') {
        return Err(settings(ENCODING));
    }
    Ok(())
}

fn check_database(info: &ConnectionInfo) -> Result<(), BackplaneError> {
    match info.redis_settings().db() {
        0 => Ok(()),
        number => Err(settings(format!(
            "database {number} has no effect: channels are the same in all databases of a server. Leave \
             it out of the URL, and give each application a channel of its own"
        ))),
    }
}

/// The address of the server. For a Unix socket, the host is the path.
fn locate(
    url: &str,
    info: ConnectionInfo,
    default_port: u16,
) -> Result<(ServerAddr, ConnectionInfo), BackplaneError> {
    let (host, port) = match info.addr() {
        ConnectionAddr::Unix(path) => {
            let host = path.to_string_lossy().into();
            return Ok((ServerAddr { host, port: 0 }, info));
        }
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            (host, *port)
        }
        _ => return Err(usage()),
    };
    let has_port = redis::parse_redis_url(url).is_some_and(|url| url.port().is_some());
    let port = if has_port { port } else { default_port };
    let address = ServerAddr { host: host.as_str().into(), port };
    let addr = at(&info, &address);
    Ok((address, info.set_addr(addr)))
}

/// The way to another host and port, with the same transport and settings.
pub(super) fn at(info: &ConnectionInfo, address: &ServerAddr) -> ConnectionAddr {
    let host = address.host.to_string();
    match info.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
            host,
            port: address.port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, address.port),
    }
}

/// The error for a URL of another form.
fn usage() -> BackplaneError {
    settings("the URL must be redis://user:password@host:port, rediss://… or unix:///path")
}

fn settings(text: impl Into<String>) -> BackplaneError {
    BackplaneError::Settings(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str) -> String {
        match read(url, 6_379) {
            Err(BackplaneError::Settings(text)) => text,
            Err(error) => panic!("{url}: {error}"),
            Ok(parts) => panic!("{url}: {}", parts.address),
        }
    }

    fn password(url: &str) -> Option<String> {
        let parts = read(url, 6_379).unwrap_or_else(|error| panic!("{url}: {error}"));
        parts.info.redis_settings().password().map(str::to_owned)
    }

    #[test]
    fn special_characters_of_a_password_are_recognised() {
        for url in [
            "redis://:p@ss/w#rd@host",
            "redis://:p/ssword@host:6379",
            "redis://:p?ssword@host",
            "redis://:p#ssword@host",
            "redis://app:p#ss:word@host:6379/0",
            "rediss://app:12/34@host",
            "redis://:p[ss@word@host]",
            "redis://:p%ff@host",
        ] {
            if url.starts_with("rediss") && !cfg!(feature = "redis-tls") {
                continue;
            }
            let text = error(url);
            assert!(text.contains("%40") && text.contains("%2F"), "{url}: {text}");
            for part in ["w#rd", "rd@", "12/34", "%ff", "p[", "p/ss", "p?ss", "p#ss"] {
                assert!(!text.contains(part), "{url}: {text}");
            }
        }
    }

    #[test]
    fn password_of_the_url_is_decoded() {
        for (url, expected) in [
            ("redis://:p%40ss%2Fw%23rd@host", "p@ss/w#rd"),
            ("redis://app:p:ss@host", "p:ss"),
            ("redis://:p@ss@host", "p@ss"),
            ("unix:///redis.sock?user=app&pass=p%40ss", "p@ss"),
        ] {
            assert_eq!(password(url).as_deref(), Some(expected), "{url}");
        }
    }

    #[test]
    fn database_but_the_first_is_refused() {
        for url in ["redis://host/3", "redis://:secret@host:6379/-1", "unix:///redis.sock?db=3"] {
            let text = error(url);
            assert!(text.contains("database") && text.contains("channel"), "{url}: {text}");
        }
        for url in ["redis://host/0", "redis://host/", "unix:///redis.sock?db=0"] {
            assert!(read(url, 6_379).is_ok(), "{url}");
        }
    }

    #[test]
    fn socket_is_named_by_its_path() {
        for url in ["unix:///run/redis.sock", "redis+unix:///run/redis.sock"] {
            assert_eq!(read(url, 6_379).ok().unwrap().address.to_string(), "/run/redis.sock");
        }
    }

    #[cfg(feature = "redis-tls")]
    #[test]
    fn insecure_in_a_url_is_refused() {
        assert!(error("rediss://host#insecure").contains("danger_accept_invalid_certificates"));
    }
}
