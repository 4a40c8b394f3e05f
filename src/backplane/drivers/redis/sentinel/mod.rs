//! The driver over the master that Redis Sentinel names.

mod asking;
mod failovers;

use std::fmt;
use std::sync::Arc;

use self::failovers::FailoverWatch;
use super::halves::{RedisPublisher, RedisSubscriber};
use super::master_watch::MasterWatch;
use super::remote::Remote;
#[cfg(feature = "redis-tls")]
use super::tls::RedisTls;
use crate::backplane::contract::Backplane;
use crate::backplane::contract::BackplaneError;
use crate::backplane::contract::Inbound;

/// The port of a sentinel if its URL has none.
const SENTINEL_PORT: u16 = 26_379;

/// A backplane over one Redis server at a time: the master of a service that Redis Sentinel
/// watches.
///
/// Each time that a half connects, the node asks all sentinels for the master at once. The answer
/// with the highest configuration epoch counts. If that server turns out to be a replica, the error
/// is [`BackplaneError::Replica`], and the node asks the sentinels again.
///
/// The node also listens to each sentinel for failovers. When the master moves, both halves drop
/// the old master at once, and connect to the new one without a wait. A sentinel that cannot be
/// reached is tried again after waits that grow from 0.1 s to 10 s; the other sentinels announce
/// the same moves.
///
/// Messages that a master had acknowledged but not passed on when it failed are lost, and counted.
///
/// The user of the master needs the same permissions as with [`Redis`](super::Redis). A user of the
/// sentinels needs the commands `SENTINEL MASTER`, `SUBSCRIBE` and `PING`, and the channel
/// `+switch-master`.
///
/// # Examples
/// ```
/// use roomcast::{Hub, RedisSentinel};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sentinels = ["redis://:sesame@10.0.0.1", "redis://:sesame@10.0.0.2", "redis://:sesame@10.0.0.3"];
/// let master = RedisSentinel::open(&sentinels, "mymaster")?.user("app", "secret");
/// let hub = Hub::<String>::builder().backplane(master, "chat").build()?;
/// # assert_eq!(hub.count(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisSentinel {
    sentinels: Arc<[Remote]>,
    service: Arc<str>,
    /// The user, password and TLS for the master, whose address changes.
    master: Remote,
    failovers: Arc<FailoverWatch>,
}

impl RedisSentinel {
    /// The master of a service, such as `mymaster`. Give the URLs of all sentinels that watch the
    /// service: the driver does not look for others.
    ///
    /// The URLs have the form of [`Redis::open`](super::Redis::open), without Unix sockets. They
    /// contain the user and the password of the sentinels; the default port is 26379. The master
    /// has no password unless [`user`](Self::user) or [`password`](Self::password) sets one. The
    /// connection to the master uses TLS if the first URL is `rediss://`.
    ///
    /// Does not connect.
    ///
    /// # Errors
    /// [`BackplaneError::Settings`]: there is no URL; a URL cannot be read, is that of a Unix
    /// socket, names a database, or needs the feature for TLS; or the name of the service is empty.
    pub fn open<U: AsRef<str>>(
        urls: &[U],
        service: impl Into<String>,
    ) -> Result<Self, BackplaneError> {
        let sentinels: Result<Arc<[Remote]>, _> = urls
            .iter()
            .map(|url| Remote::open_by_host("Sentinel", url.as_ref(), SENTINEL_PORT))
            .collect();
        let sentinels = sentinels?;
        let Some(first) = sentinels.first() else {
            let text = "Sentinel takes the URL of at least one sentinel".to_owned();
            return Err(BackplaneError::Settings(text));
        };
        let service: Arc<str> = service.into().into();
        if service.is_empty() {
            let text = "Sentinel takes the name of a service, such as mymaster".to_owned();
            return Err(BackplaneError::Settings(text));
        }
        let master = first.with_credentials(None, None);
        Ok(Self { sentinels, service, master, failovers: Arc::default() })
    }

    /// Sets the user and the password of the master.
    pub fn user(mut self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        self.master = self.master.with_credentials(Some(user.as_ref()), Some(password.as_ref()));
        self
    }

    /// Sets the password of a master without users (`requirepass`).
    pub fn password(mut self, password: impl AsRef<str>) -> Self {
        self.master = self.master.with_credentials(None, Some(password.as_ref()));
        self
    }

    /// Sets up TLS for the sentinels and the master.
    ///
    /// # Errors
    /// [`BackplaneError::Settings`]: a URL is not `rediss://`, or the settings can never work.
    #[cfg(feature = "redis-tls")]
    pub fn tls(mut self, tls: RedisTls) -> Result<Self, BackplaneError> {
        let sentinels: Result<_, _> =
            self.sentinels.iter().map(|sentinel| sentinel.with_tls(&tls)).collect();
        self.sentinels = sentinels?;
        self.master = self.master.with_tls(&tls)?;
        Ok(self)
    }

    /// Finds the master, and begins to watch for its moves.
    async fn find(&self) -> Result<(Remote, MasterWatch), BackplaneError> {
        self.failovers.listen(&self.sentinels, &self.service);
        // The watch begins before the sentinels are asked: a move that is announced after their
        // answers counts.
        let watch_from = MasterWatch::begin(self.service.clone(), self.failovers.announced());
        let address = asking::master(&self.sentinels, &self.service).await?;
        Ok((self.master.at(&address), watch_from(address)))
    }
}

/// Shows the addresses and users of the sentinels and the user of the master, not the passwords.
impl fmt::Debug for RedisSentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSentinel")
            .field("sentinels", &self.sentinels)
            .field("service", &self.service)
            .field("user", &self.master.user())
            .finish_non_exhaustive()
    }
}

impl Backplane for RedisSentinel {
    type Publisher = RedisPublisher;
    type Subscriber = RedisSubscriber;

    async fn connect_publisher(&self) -> Result<RedisPublisher, BackplaneError> {
        let (master, watch) = self.find().await?;
        RedisPublisher::connect(master, watch).await
    }

    async fn connect_subscriber(
        &self,
        inbound: Inbound,
    ) -> Result<RedisSubscriber, BackplaneError> {
        let (master, watch) = self.find().await?;
        RedisSubscriber::connect(master, watch, inbound).await
    }

    fn invites(&self) -> impl Future<Output = ()> + Send {
        let mut announced = self.failovers.announced();
        async move {
            if announced.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_errors() {
        for (urls, service) in [(&[][..], "chat"), (&["redis://host"], ""), (&["host"], "chat")] {
            let opened = RedisSentinel::open(urls, service);
            assert!(matches!(opened, Err(BackplaneError::Settings(_))), "{urls:?} {service:?}");
        }
    }

    #[test]
    fn port_is_that_of_sentinels_unless_the_url_has_one() {
        let opened = RedisSentinel::open(&["redis://one", "redis://two:6379"], "chat").unwrap();
        let shown = format!("{opened:?}");
        assert!(shown.contains("one:26379") && shown.contains("two:6379"), "{shown}");
    }

    #[test]
    fn passwords_are_not_shown() {
        let opened = RedisSentinel::open(&["redis://watcher:secret@one"], "chat").unwrap();
        let shown = format!("{:?}", opened.user("app", "secret too"));
        assert!(shown.contains("watcher") && shown.contains("app"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn master_has_its_own_credentials() {
        let opened = RedisSentinel::open(&["redis://watcher:secret@one"], "chat").unwrap();
        assert_eq!(opened.master.credentials(), (None, None));
        let opened = opened.user("app", "other");
        assert_eq!(opened.master.credentials(), (Some("app"), Some("other")));
        assert_eq!(opened.password("third").master.credentials(), (None, Some("third")));
    }
}
