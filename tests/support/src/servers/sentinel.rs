//! A master and a replica, watched by sentinels.

use redis::Value;

use super::server::{RedisServer, field_of, text};
use super::tls::Authority;
use crate::eventually;

/// The number of sentinels. Two sentinels must agree on a failover.
const SENTINELS: usize = 3;

/// The name of the service.
pub const SERVICE: &str = "the-service";

/// A sentinel detects a dead master after a second. A failover times out after two seconds, and the next failover
/// begins at least four seconds after the last one.
const DOWN_AFTER_MS: &str = "1000";
const FAILOVER_TIMEOUT_MS: &str = "2000";

/// Sentinels look at replicas each second, not each ten, and talk to each other four times as often as by
/// default: so that a former master is a replica two seconds after it has come back, not eight. A Redis that
/// does not know these settings is only slower.
const FASTER: [&str; 6] = ["SENTINEL", "DEBUG", "INFO-PERIOD", "1000", "PUBLISH-PERIOD", "500"];

/// Two servers on loopback, one of them the master, and three sentinels that watch the servers.
pub struct Watched {
    pub servers: [RedisServer; 2],
    pub sentinels: Vec<RedisServer>,
    sentinel_password: Option<&'static str>,
    /// The port of a server that the sentinels know.
    port_of: fn(&RedisServer) -> u16,
}

type Setting = (&'static str, String);

impl Watched {
    /// Starts all servers without passwords. The servers and sentinels know each other when this returns.
    pub async fn start() -> Self {
        Self::start_with(None, None).await
    }

    /// Starts all servers with a password for the servers, and a password for the sentinels.
    pub async fn start_with(
        password: Option<&'static str>,
        sentinel_password: Option<&'static str>,
    ) -> Self {
        let own = |name: &'static str| password.map(|word| (name, word.to_owned()));
        let settings = [own("requirepass"), own("masterauth")].into_iter().flatten().collect();
        let server = |settings: &[(&str, &str)]| RedisServer::start_with(settings);
        let mut of_sentinels: Vec<Setting> = Vec::new();
        of_sentinels
            .extend(password.map(|word| ("sentinel auth-pass", format!("{SERVICE} {word}"))));
        for name in ["requirepass", "sentinel sentinel-pass"] {
            of_sentinels.extend(sentinel_password.map(|word| (name, word.to_owned())));
        }
        let servers = start_pair(settings, server, |server| server.port);
        let sentinel = |settings: &[(&str, &str)]| RedisServer::start_sentinel(settings);
        let sentinels = start_sentinels(servers[0].port, of_sentinels, sentinel);
        let port_of = |server: &RedisServer| server.port;
        Self { servers, sentinels, sentinel_password, port_of }.when_whole().await
    }

    /// Starts all servers with TLS and certificates of an authority. Clients need a certificate, too.
    pub async fn start_tls(authority: &Authority) -> Self {
        let path = authority.path();
        let path = path.to_str().expect("temporary folders are UTF-8").to_owned();
        let settings: Vec<Setting> =
            vec![("tls-ca-cert-file", path), ("tls-replication", "yes".to_owned())];
        let server =
            |settings: &[(&str, &str)]| RedisServer::start_tls_with(&authority.sign(), settings);
        let servers = start_pair(settings.clone(), server, RedisServer::tls_port);
        let sentinel = |settings: &[(&str, &str)]| {
            RedisServer::start_tls_sentinel(&authority.sign(), settings)
        };
        let sentinels = start_sentinels(servers[0].tls_port(), settings, sentinel);
        let port_of = RedisServer::tls_port;
        Self { servers, sentinels, sentinel_password: None, port_of }.when_whole().await
    }

    async fn when_whole(self) -> Self {
        eventually("the sentinels know all servers", || self.is_whole()).await;
        self
    }

    /// The URLs of sentinels that speak TLS.
    pub fn tls_urls(&self) -> Vec<String> {
        self.sentinels.iter().map(RedisServer::tls_url).collect()
    }

    /// The URLs of the sentinels, with their password.
    pub fn urls(&self) -> Vec<String> {
        let url = |sentinel: &RedisServer| match self.sentinel_password {
            Some(password) => sentinel.url_as(&format!(":{password}")),
            None => sentinel.url(),
        };
        self.sentinels.iter().map(url).collect()
    }

    /// The index of the master, as the sentinels report it.
    pub fn master(&self) -> usize {
        let port = self.told(&self.sentinels[0], "MASTER", "port");
        let is_it = |server: &RedisServer| port == Some((self.port_of)(server).to_string());
        self.servers.iter().position(is_it).expect("it is one of the two")
    }

    /// Whether a server reports that it is a master.
    pub fn is_master(&self, index: usize) -> bool {
        match self.servers[index].command(&["ROLE"]) {
            Value::Array(role) => role.first() == Some(&Value::BulkString(b"master".to_vec())),
            answer => panic!("no role: {answer:?}"),
        }
    }

    /// Whether the replica is in sync, and all sentinels that run know that and each other: whether a failover
    /// is possible.
    pub fn is_whole(&self) -> bool {
        let masters = (0..self.servers.len()).filter(|index| self.is_master(*index)).count();
        let replication = self.servers.iter().filter_map(|server| {
            let told = text(server.command(&["INFO", "replication"]));
            field_of(&told, "master_link_status")
        });
        let is_known = |sentinel: &RedisServer| {
            let told = |of: &str, field: &str| self.told(sentinel, of, field);
            told("MASTER", "flags").as_deref() == Some("master")
                && told("MASTER", "num-other-sentinels").as_deref() == Some("2")
                && told("REPLICAS", "flags").as_deref() == Some("slave")
                && told("REPLICAS", "master-link-status").as_deref() == Some("ok")
        };
        masters == 1
            && replication.eq(["up".to_owned()])
            && self.sentinels.iter().filter(|sentinel| sentinel.is_running()).all(is_known)
    }

    /// The state of the master, or of the only replica, as a sentinel reports it.
    fn told(&self, sentinel: &RedisServer, of: &str, field: &str) -> Option<String> {
        let answer = sentinel.command(&["SENTINEL", of, SERVICE]);
        let fields = match of {
            "REPLICAS" => redis::from_redis_value::<Vec<Vec<String>>>(answer).ok()?.pop()?,
            _ => redis::from_redis_value::<Vec<String>>(answer).ok()?,
        };
        let mut pairs = fields.chunks_exact(2);
        pairs.find(|pair| pair[0] == field).map(|pair| pair[1].clone())
    }
}

/// A master and its replica.
fn start_pair(
    mut settings: Vec<Setting>,
    start: impl Fn(&[(&str, &str)]) -> RedisServer,
    port_of: fn(&RedisServer) -> u16,
) -> [RedisServer; 2] {
    settings.push(("repl-diskless-sync-delay", "0".to_owned()));
    let servers = [(); 2].map(|()| start(&borrowed(&settings)));
    servers[1].follow_port(port_of(&servers[0]));
    servers
}

/// The sentinels of a master.
fn start_sentinels(
    master_port: u16,
    mut settings: Vec<Setting>,
    start: impl Fn(&[(&str, &str)]) -> RedisServer,
) -> Vec<RedisServer> {
    // The sentinel must know the master before the settings of the master.
    settings.splice(
        0..0,
        [
            ("sentinel monitor", format!("{SERVICE} 127.0.0.1 {master_port} 2")),
            ("sentinel down-after-milliseconds", format!("{SERVICE} {DOWN_AFTER_MS}")),
            ("sentinel failover-timeout", format!("{SERVICE} {FAILOVER_TIMEOUT_MS}")),
        ],
    );
    let sentinels = (0..SENTINELS).map(|_| {
        let sentinel = start(&borrowed(&settings));
        let _ = sentinel.try_command(&FASTER);
        sentinel
    });
    sentinels.collect()
}

fn borrowed(settings: &[Setting]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}
