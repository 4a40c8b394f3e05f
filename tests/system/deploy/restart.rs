//! A rolling restart of two nodes behind a balancer, while clients send messages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::balancer::{Balancer, Kind};
use crate::crowd::Crowd;
use crate::node::Node;
use support::servers::RedisServer;
use support::{Client, eventually};

const CLIENTS: usize = 200;

/// The time between two new clients.
const PACE: Duration = Duration::from_millis(20);

/// Clients that connect during the restarts, and leave at once.
struct Newcomers {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<(usize, usize)>,
}

impl Newcomers {
    fn start(addr: SocketAddr) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn({
            let is_over = is_over.clone();
            async move {
                let (mut came, mut refused) = (0, 0);
                let mut ticks = tokio::time::interval(PACE);
                while !is_over.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    came += 1;
                    refused += usize::from(Client::try_connect(addr, "/ws/new").await.is_err());
                }
                (came, refused)
            }
        });
        Self { is_over, task }
    }

    /// Returns how many clients came, and how many were refused.
    async fn end(self) -> (usize, usize) {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.expect("no client panics")
    }
}

async fn rolling_restart(kind: Kind) {
    let redis = RedisServer::start();
    let mut nodes = [Node::start(&redis), Node::start(&redis)];
    for node in &nodes {
        node.is_up().await;
    }
    let balancer = Balancer::start(kind, &[nodes[0].addr(), nodes[1].addr()]);
    let crowd = Crowd::start(balancer.addr, CLIENTS);
    eventually("all are in", || crowd.open() == CLIENTS).await;
    let newcomers = Newcomers::start(balancer.addr);
    for node in &mut nodes {
        let took = node.restart().await;
        println!("{kind:?}: a node ended in {took:.1?}");
    }
    eventually("all are back", || crowd.open() == CLIENTS).await;
    let shares = [nodes[0].connections().await, nodes[1].connections().await];
    let (came, refused) = newcomers.end().await;
    let fate = crowd.end().await;
    let median = fate.away[fate.away.len() / 2];
    let worst = fate.away.last().expect("each node has had clients");
    println!(
        "{kind:?}: {CLIENTS} clients closed {} times, away {median:.2?} in the median and {worst:.2?} \
         at the worst; {} of {} messages missed by their sender, {} cut without a close; {refused} \
         of {came} new clients refused, {} of those that came back; clients on the nodes: {shares:?}",
        fate.away.len(),
        fate.missed,
        fate.sent,
        fate.cut,
        fate.refused,
    );
    assert_eq!((refused, fate.refused), (0, 0), "no client is refused");
    assert_eq!(fate.cut, 0, "each client gets a close frame");
    assert!(median <= Duration::from_millis(600), "away {median:?}");
}

#[tokio::test]
async fn rolling_restart_behind_nginx_refuses_no_client() {
    rolling_restart(Kind::Nginx).await;
}

#[tokio::test]
async fn rolling_restart_behind_haproxy_refuses_no_client() {
    rolling_restart(Kind::Haproxy).await;
}
