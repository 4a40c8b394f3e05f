//! Passwords work and are never shown; and Redis over TLS.

use roomcast::{BackplaneError, Hub};

use crate::pair::{CHANNEL, NOTICED, Pair, health, is_down_by, is_up, node};
use support::eventually;
use support::servers::RedisServer;

const PASSWORD: &str = "fish-and-chips";

/// The rights that the page `docs::scaling` lists for a user.
const RIGHTS: [&str; 4] = ["-@all", "+publish", "+subscribe", "+unsubscribe"];

/// A server with the user `app`, who may only use the channels of the chat.
fn server_with_user() -> RedisServer {
    let redis = RedisServer::start();
    let [password, channels] = [format!(">{PASSWORD}"), format!("&roomcast:{CHANNEL}:*")];
    let user = ["ACL", "SETUSER", "app", "on", &password, "resetchannels", &channels];
    redis.command(&[&user[..], &RIGHTS[..]].concat());
    redis
}

fn assert_no_password(text: &str) {
    assert!(!text.contains(PASSWORD), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_and_password_of_the_url_are_used() {
    let redis = server_with_user();
    let url = redis.url_as(&format!("app:{PASSWORD}"));
    let [a, b] = [(); 2].map(|()| node(&url).build().unwrap());
    let (pair, mut feed) = Pair::linked(a, b).await;
    pair.flow(&mut feed).await;
    pair.account_for(&mut feed).await;
    let users = redis.command(&["CLIENT", "LIST"]);
    let users: String = redis::from_redis_value(users).unwrap();
    assert!(users.lines().filter(|line| line.contains(" user=app ")).count() >= 4, "{users}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forbidden_channel_is_reported() {
    let redis = server_with_user();
    let url = redis.url_as(&format!("app:{PASSWORD}"));
    let hub = Hub::<u64>::builder().redis(url, "forbidden").build().unwrap();
    eventually("refused", || matches!(hub.backplane_err(), Some(BackplaneError::Refused(_)))).await;
    let error = hub.backplane_err().expect("the channel is still forbidden");
    assert!(error.to_string().contains("permission"), "{error}");
    assert_no_password(&format!("{error} {error:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn password_is_shown_nowhere() {
    let redis = RedisServer::start_with(&[("requirepass", "another-one")]);
    let builder = node(&redis.url_as(&format!("app:{PASSWORD}")));
    assert_no_password(&format!("{builder:?}"));
    let (pair, mut feed) =
        Pair::start(builder.build().unwrap(), node(&redis.url()).build().unwrap()).await;
    let is_refused = |error: &BackplaneError| matches!(error, BackplaneError::Refused(_));
    feed.run_until_within(NOTICED, "refused", || is_down_by(&pair.a.hub, is_refused)).await;
    let error = pair.a.hub.backplane_err().expect("the password is still wrong");
    assert_no_password(&format!("{error} {error:?} {:?}", pair.a.hub));
    assert_no_password(&format!("{:?}", health(&pair.a.hub)));
}

#[tokio::test]
async fn password_in_a_url_that_cannot_work_is_shown_nowhere() {
    for url in [
        format!("http://app:{PASSWORD}@127.0.0.1"),
        format!("redis://app:{PASSWORD}@127.0.0.1:port"),
        format!("redis://app:{PASSWORD}@127.0.0.1/database"),
        PASSWORD.to_owned(),
    ] {
        let builder = Hub::<u64>::builder().redis(url, CHANNEL);
        assert_no_password(&format!("{builder:?}"));
        // The error comes at once or with the health: neither may contain the password.
        match builder.build() {
            Err(error) => assert_no_password(&format!("{error} {error:?}")),
            Ok(hub) => {
                eventually("the error or event is reported", || hub.backplane_err().is_some())
                    .await;
                assert_no_password(&format!("{:?} {hub:?}", hub.backplane_health()));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn password_is_not_shown_by_a_node_that_is_up() {
    let redis = server_with_user();
    let hub = node(&redis.url_as(&format!("app:{PASSWORD}"))).build().unwrap();
    eventually("up", || is_up(&hub)).await;
    assert_no_password(&format!("{hub:?} {:?}", hub.backplane_health()));
}

/// Over TLS, with two chats in processes of their own: the trusted certificates are a setting of the
/// process.
mod tls {
    use std::path::Path;
    use std::process::Command;
    use std::time::Duration;

    use tokio::time::{interval, timeout};
    use tokio_tungstenite::tungstenite::Message;

    use super::*;
    use support::programs::{Chat, example};
    use support::servers::Certificate;
    use support::{Client, RawClient, within};

    const LINE: &str = r#"{"text":"hello"}"#;

    fn chat(redis: &RedisServer, trusted: &Path) -> Chat {
        let mut command = Command::new(example("load_server"));
        command.args(["--listen", "127.0.0.1:0", "--redis", &redis.tls_url()]);
        Chat::start(command.env("SSL_CERT_FILE", trusted)).expect("the load server starts")
    }

    /// Sends the line again and again until the listener receives it.
    async fn is_heard(speaker: &mut Client, listener: &mut Client) {
        let mut again = interval(Duration::from_millis(50));
        let speak = async {
            loop {
                again.tick().await;
                speaker.send(Message::text(LINE)).await;
            }
        };
        tokio::select! {
            () = speak => {}
            heard = listener.next_text() => assert_eq!(heard, LINE),
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn server_whose_certificate_is_trusted_links_nodes() {
        let certificate = Certificate::new();
        let redis = RedisServer::start_tls(&certificate);
        let [one, other] = [(); 2].map(|()| chat(&redis, &certificate.path()));
        let mut speaker = Client::connect(one.addr, "/ws/room").await;
        let mut listener = Client::connect(other.addr, "/ws/room").await;
        within("the line", is_heard(&mut speaker, &mut listener)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn server_whose_certificate_is_not_trusted_is_refused() {
        let (certificate, another) = (Certificate::new(), Certificate::new());
        let redis = RedisServer::start_tls(&certificate);
        let [one, other] = [(); 2].map(|()| chat(&redis, &another.path()));
        let mut speaker = Client::connect(one.addr, "/ws/room").await;
        let mut listener = Client::connect(other.addr, "/ws/room").await;
        let heard = timeout(Duration::from_secs(3), is_heard(&mut speaker, &mut listener)).await;
        assert!(heard.is_err(), "no message passes without trust");
        let mut page = RawClient::open(one.addr).await;
        page.send(b"GET /stats HTTP/1.1\r\nHost: chat\r\nConnection: close\r\n\r\n").await;
        let stats = String::from_utf8(page.read_to_end().await).expect("JSON is text");
        assert!(stats.contains("\"state\":\"down\""), "{stats}");
        assert!(stats.contains("certificate"), "{stats}");
    }
}
