//! A master and a replica that sentinels watch.

use redis::Value;

use super::server::{RedisServer, field_of, text};
use crate::support::eventually;

/// How many sentinels there are. Two of them agree on a failover.
const SENTINELS: usize = 3;

/// The name of the service.
pub(crate) const SERVICE: &str = "the-service";

/// A dead master is found after a second. A failover is given up after two, and the next one begins four
/// seconds after the last one at the earliest.
const DOWN_AFTER_MS: &str = "1000";
const FAILOVER_TIMEOUT_MS: &str = "2000";

/// Sentinels look at replicas each second, not each ten, and talk to each other four times as often as by
/// default: so that a former master is a replica two seconds after it has come back, not eight. A Redis that
/// does not know these settings is only slower.
const FASTER: [&str; 6] = ["SENTINEL", "DEBUG", "INFO-PERIOD", "1000", "PUBLISH-PERIOD", "500"];

/// Two servers on loopback, of which one is the master, and three sentinels that watch them.
pub(crate) struct Watched {
    pub(crate) servers: [RedisServer; 2],
    pub(crate) sentinels: Vec<RedisServer>,
    sentinel_password: Option<&'static str>,
}

impl Watched {
    /// Starts all of them without passwords; they know each other when this returns.
    pub(crate) async fn start() -> Self {
        Self::start_with(None, None).await
    }

    /// Starts them with a password for the servers, and one for the sentinels.
    pub(crate) async fn start_with(
        password: Option<&'static str>,
        sentinel_password: Option<&'static str>,
    ) -> Self {
        let servers = [(); 2].map(|()| {
            let mut settings = vec![("repl-diskless-sync-delay", "0")];
            settings.extend(password.map(|password| ("requirepass", password)));
            settings.extend(password.map(|password| ("masterauth", password)));
            RedisServer::start_with(&settings)
        });
        servers[1].follow(&servers[0]);
        let monitor = format!("{SERVICE} 127.0.0.1 {} 2", servers[0].port);
        let of_service = |value: &str| format!("{SERVICE} {value}");
        let sentinels = (0..SENTINELS).map(|_| {
            let mut settings = vec![
                ("sentinel monitor", monitor.clone()),
                ("sentinel down-after-milliseconds", of_service(DOWN_AFTER_MS)),
                ("sentinel failover-timeout", of_service(FAILOVER_TIMEOUT_MS)),
            ];
            settings.extend(password.map(|word| ("sentinel auth-pass", of_service(word))));
            settings.extend(sentinel_password.map(|word| ("requirepass", word.to_owned())));
            settings
                .extend(sentinel_password.map(|word| ("sentinel sentinel-pass", word.to_owned())));
            let settings: Vec<_> =
                settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let sentinel = RedisServer::start_sentinel(&settings);
            let _ = sentinel.try_command(&FASTER);
            sentinel
        });
        let watched = Self { sentinels: sentinels.collect(), servers, sentinel_password };
        eventually("the sentinels know all", || watched.is_whole()).await;
        watched
    }

    /// The URLs of the sentinels, with their password.
    pub(crate) fn urls(&self) -> Vec<String> {
        let url = |sentinel: &RedisServer| match self.sentinel_password {
            Some(password) => sentinel.url_as(&format!(":{password}")),
            None => sentinel.url(),
        };
        self.sentinels.iter().map(url).collect()
    }

    /// Which server is the master, as the sentinels see it.
    pub(crate) fn master(&self) -> usize {
        let port = self.told(&self.sentinels[0], "MASTER", "port");
        let is_it = |server: &RedisServer| port.as_ref() == Some(&server.port.to_string());
        self.servers.iter().position(is_it).expect("it is one of the two")
    }

    /// Whether a server says that it is a master.
    pub(crate) fn is_master(&self, index: usize) -> bool {
        match self.servers[index].command(&["ROLE"]) {
            Value::Array(role) => role.first() == Some(&Value::BulkString(b"master".to_vec())),
            answer => panic!("no role: {answer:?}"),
        }
    }

    /// Whether the replica is in sync, and all sentinels that run know that and each other: whether a failover
    /// is possible.
    pub(crate) fn is_whole(&self) -> bool {
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

    /// What a sentinel tells of the master, or of the only replica.
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
