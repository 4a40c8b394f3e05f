//! The order of messages through a balancer, before and after the balancer reloads its settings.

use crate::balancer::{Balancer, Kind};
use crate::node::Node;
use support::servers::RedisServer;
use support::{Client, eventually, within};

const MESSAGES: usize = 2_000;

async fn say_and_hear(
    speaker: &mut Client,
    listener: &mut Client,
    numbers: std::ops::Range<usize>,
) {
    for number in numbers.clone() {
        speaker.send_text(format!(r#"{{"text":"{number}"}}"#)).await;
    }
    for client in [speaker, listener] {
        for number in numbers.clone() {
            assert_eq!(client.next_text().await, format!(r#"{{"text":"{number}"}}"#));
        }
    }
}

async fn messages_arrive_in_order_through_a_reload(kind: Kind) {
    let redis = RedisServer::start();
    let node = Node::start(&redis);
    node.is_up().await;
    let balancer = Balancer::start(kind, &[node.addr()]);
    let mut clients = [
        Client::connect(balancer.addr, "/ws/room").await,
        Client::connect(balancer.addr, "/ws/room").await,
    ];
    let [speaker, listener] = &mut clients;
    say_and_hear(speaker, listener, 0..MESSAGES).await;

    let before = balancer.workers();
    balancer.reload();
    eventually("a new worker runs", || balancer.workers().iter().any(|pid| !before.contains(pid)))
        .await;
    let mut late = within("a handshake", Client::connect(balancer.addr, "/ws/room")).await;
    say_and_hear(speaker, listener, MESSAGES..2 * MESSAGES).await;
    for number in MESSAGES..2 * MESSAGES {
        assert_eq!(late.next_text().await, format!(r#"{{"text":"{number}"}}"#));
    }
}

#[tokio::test]
async fn messages_arrive_in_order_through_nginx_and_its_reload() {
    messages_arrive_in_order_through_a_reload(Kind::Nginx).await;
}

#[tokio::test]
async fn messages_arrive_in_order_through_haproxy_and_its_reload() {
    messages_arrive_in_order_through_a_reload(Kind::Haproxy).await;
}
