//! A Redis server to connect to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ProtocolVersion, PushInfo, RedisConnectionInfo,
    RedisError, ServerError,
};

use super::explain::explain;
use super::secret::Secret;
use super::server_addr::ServerAddr;
#[cfg(feature = "redis-tls")]
use super::tls::RedisTls;
use super::url::{self, ParsedUrl};
use crate::backplane::contract::BackplaneError;

/// TCP keep-alive: a dead peer is noticed 25 seconds after the last byte. The hub's probes are
/// faster. Keep-alive frees connections that are not probed, such as the one of an idle publisher.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_PROBES: u32 = 3;

/// The port of a server if its URL has none.
pub(super) const REDIS_PORT: u16 = 6_379;

/// The answers of a server to the parts of a request, in order.
pub(super) type ServerAnswers = Vec<Result<(), ServerError>>;

/// A server, and everything that is needed to connect to it.
#[derive(Clone)]
pub(super) struct Remote {
    address: ServerAddr,
    info: ConnectionInfo,
    secret: Arc<Secret>,
}

impl Remote {
    /// Reads a URL. Does not connect.
    pub(super) fn open(url: &str) -> Result<Self, BackplaneError> {
        let ParsedUrl { address, info, secret } = url::read(url, REDIS_PORT)?;
        let old = info.redis_settings();
        let settings = settings(old.username(), old.password());
        let info = info.set_redis_settings(settings).set_tcp_settings(tcp_settings());
        Ok(Self { address, info, secret: Arc::new(secret) })
    }

    /// Reads the URL of one of several servers, which name each other by host and port. If the URL
    /// has no port, the default port is used.
    pub(super) fn open_by_host(
        kind: &str,
        url: &str,
        default_port: u16,
    ) -> Result<Self, BackplaneError> {
        let ParsedUrl { address, info, .. } = url::read(url, default_port)?;
        if matches!(info.addr(), redis::ConnectionAddr::Unix(_)) {
            let text = format!(
                "{kind} names servers by host and port, so a Unix socket cannot lead to them: give a URL \
                 with a host"
            );
            return Err(BackplaneError::Settings(text));
        }
        Ok(Self::open(url)?.at(&address))
    }

    /// The same server, with settings of TLS.
    ///
    /// # Errors
    /// [`BackplaneError::Settings`]: the settings can never work.
    #[cfg(feature = "redis-tls")]
    pub(super) fn with_tls(&self, tls: &RedisTls) -> Result<Self, BackplaneError> {
        Ok(Self { info: tls.apply(&self.info)?, ..self.clone() })
    }

    /// The same server, with another user and password.
    pub(super) fn with_credentials(&self, user: Option<&str>, password: Option<&str>) -> Self {
        let info = self.info.clone().set_redis_settings(settings(user, password));
        let secret = Arc::new(Secret::new("", password));
        Self { address: self.address.clone(), info, secret }
    }

    /// Another server of the same cluster or service, with the same user, password and TLS.
    pub(super) fn at(&self, address: &ServerAddr) -> Self {
        let info = self.info.clone().set_addr(url::at(&self.info, address));
        Self { address: address.clone(), info, secret: self.secret.clone() }
    }

    pub(super) fn address(&self) -> &ServerAddr {
        &self.address
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.info.redis_settings().username()
    }

    #[cfg(test)]
    pub(super) fn credentials(&self) -> (Option<&str>, Option<&str>) {
        (self.user(), self.info.redis_settings().password())
    }

    /// Connects for requests and publishing. The connection ends when its last clone is dropped.
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, BackplaneError> {
        self.connect_with(patient()).await
    }

    /// Connects for subscribing. `on_push` gets whatever the server sends without a request, and is
    /// dropped with the connection.
    pub(super) async fn connect_with_pushes(
        &self,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, BackplaneError> {
        let sender = move |push| {
            on_push(push);
            Ok::<(), ()>(())
        };
        self.connect_with(patient().set_push_sender(sender)).await
    }

    async fn connect_with(
        &self,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, BackplaneError> {
        let client = Client::open(self.info.clone()).map_err(|error| self.explain(&error))?;
        let connected = client.get_multiplexed_async_connection_with_config(&config).await;
        connected.map_err(|error| self.explain(&error))
    }

    /// Returns the error as one of the backplane, without the password.
    pub(super) fn explain(&self, error: &RedisError) -> BackplaneError {
        explain(error, &self.secret)
    }

    /// Returns the answer of the server as an error, without the password.
    pub(super) fn refused(&self, error: &ServerError) -> BackplaneError {
        self.explain(&RedisError::from(error.clone()))
    }
}

/// Shows the address and the user, not the password.
impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("address", &self.address)
            .field("user", &self.user())
            .finish_non_exhaustive()
    }
}

/// No deadlines: the hub has its own, and drops requests that it gives up.
fn patient() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None)
}

/// The settings that a connection begins with.
///
/// The database is left out: channels are the same in all databases. Besides, each further command
/// before the first request would hide the reason why a server closes a connection at once.
fn settings(user: Option<&str>, password: Option<&str>) -> RedisConnectionInfo {
    let settings = RedisConnectionInfo::default();
    let settings = settings.set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
    let settings = match user {
        Some(user) => settings.set_username(user),
        None => settings,
    };
    match password {
        Some(password) => settings.set_password(password),
        None => settings,
    }
}

fn tcp_settings() -> TcpSettings {
    let keep_alive = TcpKeepalive::new()
        .with_time(KEEP_ALIVE_IDLE)
        .with_interval(KEEP_ALIVE_INTERVAL)
        .with_retries(KEEP_ALIVE_PROBES);
    TcpSettings::default().set_nodelay(true).set_keepalive(keep_alive)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings_error(url: &str) -> String {
        match Remote::open(url) {
            Err(BackplaneError::Settings(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn url_gives_the_address_and_the_user() {
        let remote = Remote::open("redis://me:secret@[::1]:7000/0").unwrap();
        assert_eq!(remote.address(), &ServerAddr { host: "::1".into(), port: 7000 });
        assert_eq!(format!("{remote:?}"), "Remote { address: ::1:7000, user: Some(\"me\"), .. }");
        assert_eq!(Remote::open("redis://host").unwrap().address().port, 6379);
    }

    #[test]
    fn url_that_cannot_be_read_is_an_error_of_settings_without_the_password() {
        for url in [
            "",
            "host:6379",
            "http://user:secret@host",
            "unix://redis.sock?pass=secret",
            "redis://:secret@",
            "redis://:secret@host:port",
            "redis://:secret@host/database",
            "redis://:secret@host?protocol=secret",
            "redis://:%ff@host",
        ] {
            let text = settings_error(url);
            assert!(!text.contains("secret"), "{url}: {text}");
        }
    }

    #[test]
    fn socket_is_refused_where_servers_name_each_other() {
        assert!(Remote::open("unix:///redis.sock?pass=secret").is_ok());
        let opened = Remote::open_by_host("a cluster", "unix:///redis.sock?pass=secret", 6_379);
        let Err(BackplaneError::Settings(text)) = opened else { panic!("{opened:?}") };
        assert!(text.contains("a cluster") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn another_node_keeps_the_user_and_the_password() {
        let seed = Remote::open("redis://me:secret@seed:7000").unwrap();
        let other = seed.at(&ServerAddr { host: "other".into(), port: 7001 });
        assert_eq!(other.address().to_string(), "other:7001");
        assert_eq!(other.info.addr().to_string(), "other:7001");
        assert_eq!(other.info.redis_settings().password(), Some("secret"));
    }

    #[cfg(feature = "redis-tls")]
    #[test]
    fn another_node_keeps_tls() {
        let seed = Remote::open("rediss://seed:7000").unwrap();
        let seed = seed.with_tls(&RedisTls::new().danger_accept_invalid_certificates()).unwrap();
        let other = seed.at(&ServerAddr { host: "other".into(), port: 7001 });
        let other = other.with_credentials(Some("me"), Some("secret"));
        assert!(matches!(
            other.info.addr(),
            redis::ConnectionAddr::TcpTls { port: 7001, insecure: true, tls_params: Some(_), .. }
        ));
    }

    #[cfg(not(feature = "redis-tls"))]
    #[test]
    fn tls_without_the_feature_names_the_feature() {
        assert!(settings_error("rediss://host").contains("redis-tls"));
    }

    #[test]
    fn answers_of_the_server_are_refusals() {
        let remote = Remote::open("redis://:secret@host").unwrap();
        let error = redis::make_extension_error(
            "WRONGPASS".to_owned(),
            Some("invalid username-password pair or secret".to_owned()),
        );
        let expected = "WRONGPASS invalid username-password pair or ***".to_owned();
        assert_eq!(remote.explain(&error), BackplaneError::Refused(expected));
    }

    #[test]
    fn failures_of_the_network_are_of_the_connection() {
        let remote = Remote::open("redis://host").unwrap();
        let error = RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        assert_eq!(remote.explain(&error), BackplaneError::Connection("timed out".to_owned()));
    }
}
