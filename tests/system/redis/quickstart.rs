//! The example `quickstart`, as two nodes, and the example `cron`, which publishes to its clients.

use std::process::Command;
use std::time::Duration;

use tokio_tungstenite::tungstenite::Error;

use support::programs::{Chat, example};
use support::servers::RedisServer;
use support::{Client, within};

const TOKEN: (&str, &str) = ("authorization", "Bearer secret");

fn start(redis: &RedisServer) -> Chat {
    let mut command = Command::new(example("quickstart"));
    command.env("TOKEN", "secret").env("REDIS_URL", redis.url()).env("LISTEN", "127.0.0.1:0");
    Chat::start(&mut command).expect("the example starts")
}

async fn enter(node: &Chat, path: &str) -> Client {
    Client::knock(node.addr, path, &[TOKEN]).await.expect("the token is known").0
}

#[tokio::test]
async fn quickstart_joins_two_nodes_and_accepts_only_clients_with_the_token() {
    let redis = RedisServer::start();
    let nodes = [start(&redis), start(&redis)];
    let stranger = Client::try_connect(nodes[0].addr, "/ws/tea").await;
    let Err(Error::Http(refused)) = stranger else { panic!("a stranger was let in") };
    assert_eq!(refused.status(), 401);

    let mut here = enter(&nodes[0], "/ws/tea").await;
    let mut there = enter(&nodes[1], "/ws/tea").await;
    let mut elsewhere = enter(&nodes[1], "/ws/coffee").await;
    // Messages reach the other node only after both nodes have subscribed.
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let heard = async {
        loop {
            tokio::select! {
                text = there.next_text() => return text,
                _ = ticks.tick() => here.send_text("\"hello\"").await,
            }
        }
    };
    assert_eq!(within("a message of the other node", heard).await, "\"hello\"");
    elsewhere.send_text("\"alone\"").await;
    assert_eq!(
        elsewhere.next_text().await,
        "\"alone\"",
        "a client gets messages of its own room only"
    );
}

#[tokio::test]
async fn cron_example_reaches_the_clients_of_a_server() {
    let redis = RedisServer::start();
    let server = start(&redis);
    let mut client = enter(&server, "/ws/lobby").await;
    // The message of the job arrives only after the server has subscribed.
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let heard = async {
        loop {
            tokio::select! {
                text = client.next_text() => return text,
                _ = ticks.tick() => {
                    let mut job = Command::new(example("cron"));
                    let status = job.args([&redis.url(), "It is noon."]).status();
                    assert!(status.expect("the process runs").success());
                }
            }
        }
    };
    assert_eq!(within("the message of the job", heard).await, r#""It is noon.""#);
}
