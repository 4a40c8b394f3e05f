//! The URLs of Redis that are accepted, and the errors for URLs that can never work.

use roomcast::{BuildError, Hub};

use crate::pair::{CHANNEL, Pair, node};
use support::servers::{Folder, RedisServer};

/// The reason why a hub cannot be built.
fn error(built: Result<Hub<u64>, BuildError>) -> String {
    match built {
        Err(BuildError::Backplane(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unix_socket_links_processes_of_one_machine() {
    let folder = Folder::new();
    let path = RedisServer::socket(&folder);
    let redis = RedisServer::start_with(&[("unixsocket", &path), ("requirepass", "fish/chips")]);
    let urls =
        ["unix://", "redis+unix://"].map(|scheme| format!("{scheme}{path}?pass=fish%2Fchips"));
    let [a, b] = urls.each_ref().map(|url| node(url).build().unwrap());
    let (pair, mut feed) = Pair::linked(a, b).await;
    pair.flow(&mut feed).await;
    pair.account_for(&mut feed).await;
    let clients: String = redis::from_redis_value(redis.command(&["CLIENT", "LIST"])).unwrap();
    assert!(clients.lines().filter(|line| line.contains(&path)).count() >= 4, "{clients}");
}

#[tokio::test]
async fn unix_socket_is_refused_for_cluster_and_sentinel() {
    let url = "unix:///run/redis.sock?pass=secret";
    let new = Hub::<u64>::builder;
    for built in [
        new().redis_cluster([url], CHANNEL).build(),
        new().redis_sentinel([url], "mymaster", CHANNEL).build(),
    ] {
        let error = error(built);
        assert!(error.contains("Unix socket") && error.contains("port"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn error_tells_how_to_encode_special_characters_in_a_password() {
    for url in ["redis://:p@ss/w#rd@host", "redis://app:secret#1@host", "redis://:12?34@host"] {
        let error = error(Hub::builder().redis(url, CHANNEL).build());
        assert!(error.contains("percent-encoded") && error.contains("# as %23"), "{error}");
        for part in ["p@ss", "ss/w", "secret", "12", "34"] {
            assert!(!error.contains(part), "{error}");
        }
    }
}

#[tokio::test]
async fn database_in_the_url_is_refused() {
    let error = error(Hub::builder().redis("redis://host/3", CHANNEL).build());
    assert!(error.contains("database 3") && error.contains("channel"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn percent_encoded_password_is_accepted() {
    let redis = RedisServer::start_with(&[("requirepass", "p@ss/w#rd")]);
    let url = format!("redis://:p%40ss%2Fw%23rd@{}", redis.addr());
    let [a, b] = [(); 2].map(|()| node(&url).build().unwrap());
    Pair::linked(a, b).await;
}
