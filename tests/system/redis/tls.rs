//! Redis over TLS, with private certificates.

use std::time::Duration;

use roomcast::{BackplaneError, Builder, Hub, Redis, RedisSentinel, RedisTls};

use crate::feed::Numbered;
use crate::pair::{CHANNEL, Pair, is_up};
use support::eventually;
use support::servers::{Authority, Certificate, RedisServer, SERVICE, Watched};

fn node(redis: &RedisServer, tls: RedisTls) -> Builder<Numbered> {
    let redis = Redis::open(&redis.tls_url()).and_then(|redis| redis.tls(tls));
    builder().backplane(redis.expect("the settings are right"), CHANNEL)
}

fn builder() -> Builder<Numbered> {
    Hub::builder().shards(2).send_buffer(65_536).send_buffer_bytes(256 << 20)
}

/// Waits until a hub is down, and returns the reason.
async fn reason(redis: &RedisServer, tls: RedisTls) -> String {
    let hub = node(redis, tls).build().unwrap();
    eventually("down", || hub.backplane_err().is_some()).await;
    let error = hub.backplane_err().expect("nothing has changed");
    assert!(matches!(error, BackplaneError::Connection(_)), "{error:?}");
    error.to_string()
}

/// A server that requires a client certificate of the authority, as Redis does by default.
fn asking(authority: &Authority) -> RedisServer {
    let path = authority.path();
    let path = path.to_str().expect("temporary folders are UTF-8");
    RedisServer::start_tls_with(&authority.sign(), &[("tls-ca-cert-file", path)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_with_a_certificate_of_a_private_authority_links_nodes() {
    let authority = Authority::new("ours");
    let redis = RedisServer::start_tls(&authority.sign());
    let tls = RedisTls::new().authority(authority.pem());
    let [a, b] = [(); 2].map(|()| node(&redis, tls.clone()).build().unwrap());
    let (pair, mut feed) = Pair::linked(a, b).await;
    pair.flow(&mut feed).await;
    pair.account_for(&mut feed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn self_signed_certificate_may_be_trusted() {
    let certificate = Certificate::new();
    let redis = RedisServer::start_tls(&certificate);
    let [pem, _] = certificate.pem();
    let hub = node(&redis, RedisTls::new().authority(pem)).build().unwrap();
    eventually("up", || is_up(&hub)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_of_another_authority_is_refused_with_the_reason() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let redis = RedisServer::start_tls(&authority.sign());
    for tls in [RedisTls::new().authority(other.pem()), RedisTls::new()] {
        let reason = reason(&redis, tls).await;
        assert!(reason.contains("invalid peer certificate: UnknownIssuer"), "{reason}");
        assert!(reason.contains("RedisTls::authority"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn danger_setting_accepts_an_unverified_server() {
    let redis = RedisServer::start_tls(&Authority::new("nobody knows").sign());
    let tls = RedisTls::new().danger_accept_invalid_certificates();
    let hub = node(&redis, tls).build().unwrap();
    eventually("up", || is_up(&hub)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_certificate_is_sent_to_a_server_that_asks() {
    let authority = Authority::new("ours");
    let redis = asking(&authority);
    let [chain, key] = authority.sign().pem();
    let trusting = RedisTls::new().authority(authority.pem());
    let unverified = RedisTls::new().danger_accept_invalid_certificates();
    for tls in [trusting, unverified] {
        let hub = node(&redis, tls.client_certificate(&*chain, &*key)).build().unwrap();
        eventually("up", || is_up(&hub)).await;
    }
}

/// The same settings apply to the sentinels, the current master and the next master.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_settings_apply_to_sentinels_and_masters() {
    let authority = Authority::new("ours");
    let mut watched = Watched::start_tls(&authority).await;
    let [chain, key] = authority.sign().pem();
    let tls = RedisTls::new().authority(authority.pem()).client_certificate(chain, key);
    let master = RedisSentinel::open(&watched.tls_urls(), SERVICE).and_then(|it| it.tls(tls));
    let master = master.expect("the settings are right");
    let [a, b] = [(); 2].map(|()| builder().backplane(master.clone(), CHANNEL).build().unwrap());
    let (pair, mut feed) = Pair::linked(a, b).await;
    let dies = watched.master();
    watched.servers[dies].kill();
    feed.run_until("a promotion", || watched.is_master(1 - dies)).await;
    pair.flow_within(Duration::from_secs(2), &mut feed).await;
    pair.account_for(&mut feed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_or_unknown_client_certificate_is_reported() {
    let authority = Authority::new("ours");
    let redis = asking(&authority);
    let tls = RedisTls::new().authority(authority.pem());
    let text = reason(&redis, tls.clone()).await;
    assert!(text.contains("RedisTls::client_certificate"), "{text}");
    let [chain, key] = Authority::new("another").sign().pem();
    let text = reason(&redis, tls.client_certificate(chain, key)).await;
    assert!(text.contains("alert"), "{text}");
}
