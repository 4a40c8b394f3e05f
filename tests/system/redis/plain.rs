//! Other programs publish through a real Redis: `redis-cli`, and Python with a signature.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use roomcast::{BackplaneError, Builder, Hub};
use serde_json::{Value, json};

use crate::pair::{health, is_up};
use support::programs::{Chat, example};
use support::servers::{RedisCluster, RedisServer};
use support::{Client, Recorded, eventually};

const CHANNEL: &str = "chat:in";
const KEY: &str = "thirty-two bytes, if not random.";

/// The page about scaling.
const PAGE: &str = include_str!("../../../src/docs/scaling.md");

/// The lines of Python on the page.
fn documented_lines() -> &'static str {
    let (_, after) = PAGE.split_once("```python\n").expect("the page has lines of Python");
    after.split_once("```").expect("the lines end").0
}

fn node(redis: &RedisServer) -> Builder<Value> {
    Hub::builder().shards(2).redis(redis.url(), "chat").plain_channel(CHANNEL)
}

/// A node that subscribes to the plain channel, with a client in a room.
async fn member(builder: Builder<Value>, room: &str) -> (Recorded<Value>, Client) {
    let mut node = Recorded::serve(builder.build().expect("valid settings")).await;
    let (client, conn) = node.connect().await;
    conn.try_join(room).expect("the room is new");
    listens(&node.hub).await;
    (node, client)
}

async fn listens(hub: &Hub<Value>) {
    eventually("the node subscribes to the plain channel", || {
        is_up(hub) && health(hub).subscriptions >= 2
    })
    .await;
}

/// Runs `redis-cli`, as a person or a script does. Fails if `redis-cli` fails.
fn redis_cli(port: u16, arguments: &[&str], input: &[u8]) {
    let mut command = Command::new("redis-cli");
    command.args(["-e", "-p", &port.to_string()]).args(arguments);
    output("redis-cli", &mut command, input);
}

/// Publishes a payload. The tests check which nodes got it: the answer of Redis only counts subscriptions.
fn publish(redis: &RedisServer, payload: &str) {
    redis_cli(redis.port, &["PUBLISH", CHANNEL, payload], b"");
}

fn output(name: &str, command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap_or_else(|error| panic!("{name} is needed: {error}"));
    let mut stdin = process.stdin.take().expect("the stream is piped");
    stdin.write_all(input).expect("it reads");
    drop(stdin);
    let output = process.wait_with_output().expect("the process ends");
    assert!(output.status.success(), "{name}: {output:?}");
    output
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_published_with_redis_cli_reaches_the_members_on_all_nodes() {
    let redis = RedisServer::start();
    let (a, mut of_a) = member(node(&redis), "tea").await;
    let (b, mut of_b) = member(node(&redis).channels(8), "news").await;
    publish(&redis, r#"{"room":"tea","message":{"n":1}}"#);
    publish(&redis, r#"{"message":{"n":2},"room":"news"}"#);
    publish(&redis, r#"{"rooms":["tea","news"],"message":{"n":3}}"#);
    publish(&redis, r#"{"everyone":true,"message":{"n":4}}"#);
    publish(&redis, r#"{"everyone":true,"message":{"n":5},"room":"tea"}"#);
    publish(&redis, "garbage");
    let longer_than_allowed = "x".repeat(65_536);
    publish(&redis, &json!({ "everyone": true, "message": longer_than_allowed }).to_string());
    publish(&redis, r#"{"everyone":true,"message":"é"}"#);
    let expected =
        |first: u64| [json!({ "n": first }), json!({"n": 3}), json!({"n": 4}), json!("é")];
    assert_eq!(of_a.get_many::<Value>(4).await, expected(1));
    assert_eq!(of_b.get_many::<Value>(4).await, expected(2));
    for hub in [&a.hub, &b.hub] {
        let health = health(hub);
        assert_eq!((health.plain_received, health.plain_malformed), (5, 2));
        assert_eq!((health.plain_too_large, health.plain_rejected()), (1, 3));
        assert_eq!((health.garbage, health.lost, health.published), (0, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hub_accepts_messages_signed_by_the_documented_python_code() {
    let redis = RedisServer::start();
    let keyed = || node(&redis).backplane_keys([&b"another key of theirs"[..], KEY.as_bytes()]);
    let (a, mut of_a) = member(keyed(), "tea").await;
    let (b, mut of_b) = member(keyed(), "tea").await;
    publish(&redis, r#"{"room":"tea","message":"unsigned"}"#);
    for (key, text) in [("a key that is none", "forged"), (KEY, "The kettle boils.")] {
        let lines = documented_lines().replace("The kettle boils.", text);
        let mut python = Command::new("python3");
        let python = python.arg("-c").arg(&lines).env("BACKPLANE_KEY", key);
        let payload = output("python3", python, b"").stdout;
        redis_cli(redis.port, &["-x", "PUBLISH", CHANNEL], &payload);
    }
    for (hub, client) in [(&a.hub, &mut of_a), (&b.hub, &mut of_b)] {
        assert_eq!(client.get::<Value>().await, json!("The kettle boils."));
        let health = health(hub);
        assert_eq!((health.plain_received, health.plain_unauthenticated), (1, 2));
        assert_eq!((health.plain_rejected(), health.unauthenticated), (2, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_subscribes_to_the_plain_channel_again_after_a_restart_of_redis() {
    let mut redis = RedisServer::start();
    let (node, mut client) = member(node(&redis), "tea").await;
    redis.kill();
    eventually("the backplane is down", || !is_up(&node.hub)).await;
    redis.restart();
    listens(&node.hub).await;
    publish(&redis, r#"{"room":"tea","message":1}"#);
    assert_eq!(client.get::<Value>().await, json!(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forbidden_plain_channel_is_reported_and_nodes_still_exchange_messages() {
    let redis = RedisServer::start();
    redis.command(&[
        "ACL",
        "SETUSER",
        "app",
        "on",
        ">secret",
        "+@all",
        "resetchannels",
        "&roomcast:*",
    ]);
    let node = || {
        let node = Hub::<Value>::builder().redis(redis.url_as("app:secret"), "chat");
        node.plain_channel(CHANNEL).build().expect("valid settings")
    };
    let (a, b) = (node(), node());
    let is_told =
        |hub: &Hub<Value>| matches!(hub.backplane_err(), Some(BackplaneError::Refused(_)));
    eventually("the error or event is reported", || is_told(&a) && is_told(&b)).await;
    eventually("the nodes know each other", || a.cluster().nodes().len() == 2).await;
    a.try_broadcast(&json!(1)).expect("there is space");
    eventually("the message arrives", || health(&b).received == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_publish_to_a_cluster_with_spublish() {
    let cluster = RedisCluster::start().await;
    let node = || {
        let node = Hub::builder().redis_cluster(cluster.urls(), "chat").channels(8);
        node.plain_channel(CHANNEL)
    };
    let (_a, mut of_a) = member(node(), "tea").await;
    let (_b, mut of_b) = member(node(), "tea").await;
    let url = &cluster.urls()[0];
    let port =
        url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("the URL has a port");
    redis_cli(port, &["-c", "SPUBLISH", CHANNEL, r#"{"room":"tea","message":1}"#], b"");
    for client in [&mut of_a, &mut of_b] {
        assert_eq!(client.get::<Value>().await, json!(1));
    }
}

/// Publishes a line of a chat to the room `tea`.
fn say(redis: &RedisServer, text: &str) {
    let message = json!({ "user": "cron", "text": text });
    publish(redis, &json!({ "room": "tea", "message": message }).to_string());
}

async fn line(client: &mut Client) -> String {
    let line: Value = client.get().await;
    line["text"].as_str().expect("a line has text").to_owned()
}

/// Says hello again and again until the client hears it.
async fn hears(redis: &RedisServer, client: &mut Client) {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    loop {
        tokio::select! {
            text = line(client) => return assert_eq!(text, "hello"),
            _ = ticks.tick() => say(redis, "hello"),
        }
    }
}

#[tokio::test]
async fn one_publish_of_redis_cli_shows_in_the_clients_of_two_chats() {
    let redis = RedisServer::start();
    let start = || {
        let mut command = Command::new(example("load_server"));
        command.args(["--listen", "127.0.0.1:0", "--redis", &redis.url()]);
        Chat::start(command.args(["--plain-channel", CHANNEL])).expect("the load server starts")
    };
    let nodes = [start(), start()];
    let mut clients = Vec::new();
    for node in &nodes {
        let mut client = Client::connect(node.addr, "/ws/tea").await;
        // Messages reach the client only after the node has subscribed and the client has joined.
        hears(&redis, &mut client).await;
        clients.push(client);
    }
    say(&redis, "once");
    say(&redis, "the end");
    for client in &mut clients {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|last| last != "the end") {
            lines.push(line(client).await);
        }
        lines.retain(|line| line != "hello");
        assert_eq!(lines, ["once", "the end"]);
    }
}
