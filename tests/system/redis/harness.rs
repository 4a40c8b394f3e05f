//! Tests of the test tools: Redis servers that end and restart, and a proxy that simulates network faults.

use std::time::Duration;

use redis::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use support::servers::{Certificate, Proxy, RedisCluster, RedisServer};
use support::{eventually, within};

/// Long enough for an answer on loopback. Only a wait can show that no answer comes.
const A_MOMENT: Duration = Duration::from_millis(200);

async fn ping(stream: &mut TcpStream) {
    within("a write", stream.write_all(b"PING\r\n")).await.expect("the connection is open");
}

async fn pong(stream: &mut TcpStream) {
    let mut answer = [0; 7];
    within("an answer", stream.read_exact(&mut answer)).await.expect("the connection is open");
    assert_eq!(&answer, b"+PONG\r\n");
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(A_MOMENT, stream.read_u8()).await.is_err()
}

#[tokio::test]
async fn server_comes_back_on_its_port_with_its_settings() {
    let mut redis = RedisServer::start_with(&[("requirepass", "secret"), ("maxclients", "7")]);
    redis.command(&["SET", "key", "value"]);
    redis.kill();
    assert!(TcpStream::connect(redis.addr()).await.is_err());
    redis.restart();
    assert_eq!(redis.command(&["GET", "key"]), Value::Nil);
    assert_eq!(redis.info("maxclients").as_deref(), Some("7"));
}

#[tokio::test]
async fn paused_server_accepts_and_answers_later() {
    let redis = RedisServer::start();
    redis.pause();
    let mut stream = within("the system accepts", TcpStream::connect(redis.addr())).await.unwrap();
    ping(&mut stream).await;
    assert!(is_silent(&mut stream).await);
    redis.resume();
    pong(&mut stream).await;
}

#[tokio::test]
async fn server_ends_with_its_owner() {
    let redis = RedisServer::start();
    let addr = redis.addr();
    redis.pause();
    drop(redis);
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn stalled_proxy_delivers_its_bytes_after_it_resumes() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.addr()).await;
    let mut before = TcpStream::connect(proxy.addr).await.unwrap();
    ping(&mut before).await;
    pong(&mut before).await;
    proxy.stall();
    let mut new = TcpStream::connect(proxy.addr).await.unwrap();
    for stream in [&mut before, &mut new] {
        ping(stream).await;
        assert!(is_silent(stream).await);
    }
    proxy.resume();
    pong(&mut before).await;
    pong(&mut new).await;
}

#[tokio::test]
async fn proxy_accepts_new_connections_after_a_cut() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.addr()).await;
    let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
    ping(&mut stream).await;
    pong(&mut stream).await;
    proxy.cut();
    let read = within("the end", stream.read_u8()).await;
    assert!(read.is_err(), "{read:?}");
    let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
    ping(&mut stream).await;
    pong(&mut stream).await;
}

#[tokio::test]
async fn cluster_survives_the_death_of_a_master() {
    let mut cluster = RedisCluster::start().await;
    assert_eq!(cluster.urls().len(), 6);
    let master = cluster.master_of("chat");
    cluster.kill(master);
    eventually("a replica takes over", || cluster.master_of("chat") != master).await;
    eventually("the cluster is whole", || cluster.is_whole()).await;
}

#[tokio::test]
async fn server_speaks_tls() {
    let certificate = Certificate::new();
    let redis = RedisServer::start_tls(&certificate);
    let said = std::process::Command::new("redis-cli")
        .args(["-u", &redis.tls_url(), "--cacert"])
        .arg(certificate.path())
        .arg("PING")
        .output()
        .expect("redis-cli is on the PATH");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "PONG\n", "{said:?}");
}
