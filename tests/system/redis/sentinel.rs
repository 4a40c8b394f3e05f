//! Masters that Sentinel names: they die, freeze and come back as replicas, and the nodes follow the new master.

use std::time::{Duration, Instant};

use roomcast::{BackplaneError, Builder, Hub, RedisSentinel};

use crate::demoted::is_replica;
use crate::feed::{Feed, Numbered};
use crate::pair::{CHANNEL, NOTICED, Pair, health, is_down_by, is_up};
use support::eventually;
use support::servers::{RedisServer, SERVICE, Watched};

/// Time for messages to flow before something happens.
const A_WHILE: Duration = Duration::from_millis(500);

/// The sentinels detect a dead master after a second; then they agree in a second or two, sometimes only at the second
/// attempt.
const PROMOTED: Duration = Duration::from_secs(20);

/// The time from the promotion until messages flow; the sentinels notice the promotion up to a second later.
const FLOWS: Duration = Duration::from_secs(2);

const PASSWORD: &str = "fish-and-chips";
const SENTINEL_PASSWORD: &str = "salt-and-vinegar";

fn builder() -> Builder<Numbered> {
    Hub::builder().shards(2).send_buffer(65_536).send_buffer_bytes(256 << 20)
}

pub(crate) fn node(watched: &Watched) -> Builder<Numbered> {
    builder().redis_sentinel(watched.urls(), SERVICE, CHANNEL)
}

fn node_with_password(watched: &Watched) -> Builder<Numbered> {
    let master = RedisSentinel::open(&watched.urls(), SERVICE).expect("the URLs can be read");
    builder().backplane(master.password(PASSWORD), CHANNEL)
}

/// Waits until the other server is the master, and then until messages flow. Returns the second time.
async fn follow(watched: &Watched, next: usize, pair: &Pair, feed: &mut Feed) -> Duration {
    feed.run_until_within(PROMOTED, "a promotion", || watched.is_master(next)).await;
    let promoted = Instant::now();
    pair.flow_within(FLOWS, feed).await;
    promoted.elapsed()
}

/// Kills the master again and again. Each time it comes back as a replica.
async fn masters_die(rounds: usize, mut watched: Watched, (pair, mut feed): (Pair, Feed)) {
    let mut times = Vec::new();
    for _ in 0..rounds {
        feed.run_for(A_WHILE).await;
        let master = watched.master();
        watched.servers[master].kill();
        times.push(follow(&watched, 1 - master, &pair, &mut feed).await);
        let is_well = || is_up(&pair.a.hub) && is_up(&pair.b.hub);
        feed.run_until_within(FLOWS, "both are up", is_well).await;
        watched.servers[master].restart();
        feed.run_until("the former master is in sync", || watched.is_whole()).await;
    }
    times.sort();
    let (health_a, health_b) = (health(&pair.a.hub), health(&pair.b.hub));
    println!(
        "{rounds} failovers: flows after {:?} (median), {:?} (most); published {}, lost {}, dropped {}, \
         duplicates {}",
        times[rounds / 2],
        times[rounds - 1],
        feed.published,
        health_b.lost,
        health_a.dropped,
        health_b.duplicates,
    );
    pair.account_for(&mut feed).await;
    assert_eq!(health(&pair.a.hub).dropped, 0, "{pair:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_follow_the_replica_when_a_master_with_password_dies() {
    let watched = Watched::start_with(Some(PASSWORD), Some(SENTINEL_PASSWORD)).await;
    let [a, b] = [(); 2].map(|()| node_with_password(&watched).build().unwrap());
    let linked = Pair::linked(a, b).await;
    masters_die(3, watched, linked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes some minutes"]
async fn nodes_follow_the_replicas_of_twenty_masters_that_die() {
    let watched = Watched::start().await;
    let [a, b] = [(); 2].map(|()| node(&watched).build().unwrap());
    let linked = Pair::linked(a, b).await;
    masters_die(20, watched, linked).await;
}

/// The connections to a frozen master stay open: only the sentinels report the change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_leave_a_frozen_master_as_soon_as_another_is_promoted() {
    let watched = Watched::start().await;
    let [a, b] = [(); 2].map(|()| node(&watched).build().unwrap());
    let (pair, mut feed) = Pair::linked(a, b).await;
    feed.run_for(A_WHILE).await;
    let master = watched.master();
    watched.servers[master].pause();
    let took = follow(&watched, 1 - master, &pair, &mut feed).await;
    println!("flows {took:?} after the promotion");
    watched.servers[master].resume();
    feed.run_until("the former master is in sync", || watched.is_whole()).await;
    pair.account_for(&mut feed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_leave_a_master_at_once_after_a_failover_by_hand() {
    let watched = Watched::start().await;
    let [a, b] = [(); 2].map(|()| node(&watched).build().unwrap());
    let (pair, mut feed) = Pair::linked(a, b).await;
    feed.run_for(A_WHILE).await;
    let master = watched.master();
    watched.sentinels[0].command(&["SENTINEL", "FAILOVER", SERVICE]);
    follow(&watched, 1 - master, &pair, &mut feed).await;
    feed.run_until("the former master is in sync", || watched.is_whole()).await;
    pair.account_for(&mut feed).await;
}

/// A sentinel may name a server that is no longer a master.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_checks_that_the_server_named_by_a_sentinel_is_a_master() {
    let mut watched = Watched::start().await;
    // One sentinel alone starts no failover.
    watched.sentinels[1..].iter_mut().for_each(RedisServer::kill);
    let other = RedisServer::start();
    let named = &watched.servers[watched.master()];
    named.follow(&other);
    let hub = node(&watched).build().unwrap();
    eventually("down by that reason", || is_down_by(&hub, is_replica(named.port))).await;
    named.promote();
    eventually("up", || is_up(&hub)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_needs_only_one_sentinel_that_answers() {
    let mut watched = Watched::start().await;
    watched.sentinels[0].kill();
    watched.sentinels[1].pause();
    let hub = node(&watched).build().unwrap();
    eventually("up", || is_up(&hub)).await;
    assert_eq!(health(&hub).reconnects, 0, "at the first attempt: {hub:?}");
    watched.sentinels[1].resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn error_names_the_unreachable_sentinels_until_one_is_back() {
    let mut watched = Watched::start().await;
    watched.sentinels.iter_mut().for_each(RedisServer::kill);
    let hub = node(&watched).build().unwrap();
    eventually("down", || hub.backplane_err().is_some()).await;
    let error = hub.backplane_err().expect("no sentinel has been started");
    assert!(matches!(error, BackplaneError::Connection(_)), "{error}");
    let ports = watched.sentinels.iter().map(|sentinel| sentinel.port.to_string());
    for port in ports {
        assert!(error.to_string().contains(&port), "{error}");
    }
    watched.sentinels[2].restart();
    eventually("up", || is_up(&hub)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn error_names_a_service_that_no_sentinel_knows() {
    let watched = Watched::start().await;
    let hub = Hub::<u64>::builder().redis_sentinel(watched.urls(), "another", CHANNEL).build();
    let hub = hub.expect("the settings can be read");
    let is_refused = |error: &BackplaneError| matches!(error, BackplaneError::Refused(_));
    eventually("refused", || hub.backplane_err().is_some_and(|error| is_refused(&error))).await;
    let error = hub.backplane_err().expect("no sentinel knows the service").to_string();
    assert!(error.contains("another") && error.contains("No such master"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn error_tells_a_server_from_a_sentinel() {
    let watched = Watched::start().await;
    let server = Hub::<u64>::builder().redis(watched.sentinels[0].url(), CHANNEL).build();
    let sentinel =
        Hub::<u64>::builder().redis_sentinel([watched.servers[0].url()], SERVICE, CHANNEL).build();
    for (hub, word) in [(server, "is a Sentinel"), (sentinel, "SENTINEL")] {
        let hub = hub.expect("the settings can be read");
        let is_told = || hub.backplane_err().is_some_and(|error| error.to_string().contains(word));
        eventually(word, is_told).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_are_reported_and_never_shown() {
    let watched = Watched::start_with(Some(PASSWORD), Some(SENTINEL_PASSWORD)).await;
    let wrong = "tea-and-scones";
    let urls = watched.urls();
    let wrong_urls: Vec<String> =
        urls.iter().map(|url| url.replace(SENTINEL_PASSWORD, wrong)).collect();
    for (urls, password) in [(&wrong_urls, PASSWORD), (&urls, wrong)] {
        let master = RedisSentinel::open(urls, SERVICE).expect("the URLs can be read");
        let master = master.password(password);
        let mut shown = format!("{master:?}");
        let hub = builder().backplane(master, CHANNEL).build().unwrap();
        let is_refused = |error: &BackplaneError| {
            matches!(error, BackplaneError::Refused(_)) && error.to_string().contains("WRONGPASS")
        };
        eventually("refused", || is_down_by(&hub, is_refused)).await;
        shown += &format!("{hub:?} {:?} {}", health(&hub), hub.backplane_err().expect("as above"));
        for password in [PASSWORD, SENTINEL_PASSWORD, wrong] {
            assert!(!shown.contains(password), "{shown}");
        }
    }
}

/// The tasks that listen to the sentinels end with the hub.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_sentinels_end_with_the_hub() {
    let watched = Watched::start().await;
    let listeners = |sentinel: &RedisServer| {
        let clients = sentinel.command(&["CLIENT", "LIST", "TYPE", "PUBSUB"]);
        let clients: String = redis::from_redis_value(clients).expect("a list of clients");
        clients.lines().count()
    };
    let are_heard = |count| watched.sentinels.iter().all(|sentinel| listeners(sentinel) == count);
    let hub = node(&watched).build().unwrap();
    eventually("each sentinel has a listener", || are_heard(1)).await;
    hub.shutdown_now();
    drop(hub);
    tokio::time::timeout(NOTICED, eventually("no sentinel has a listener", || are_heard(0)))
        .await
        .expect("in time");
}
