//! A node that shuts down says goodbye to the other nodes, and its last messages arrive.

use std::thread;
use std::time::Duration;

use roomcast::{BackplaneState, Hub};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::pair::{CHANNEL, health, is_up};
use support::servers::{Proxy, RedisServer};
use support::{Recorded, eventually};

/// Far less than the 15 s after which a silent node is forgotten.
const AT_ONCE: Duration = Duration::from_secs(1);

fn build(url: &str) -> Hub<u64> {
    Hub::builder().redis(url, CHANNEL).build().expect("the hub can be built")
}

/// Runs a program with a hub of its own, until its `main` returns.
fn program<F: Future>(url: &str, main: impl FnOnce(Hub<u64>) -> F + Send + 'static) -> F::Output
where
    F::Output: Send + 'static,
{
    let url = url.to_owned();
    let program = thread::spawn(move || {
        let runtime = Runtime::new().expect("the system has threads");
        runtime.block_on(async { main(build(&url)).await })
    });
    program.join().expect("the task does not panic")
}

async fn knows_another(hub: &Hub<u64>) {
    eventually("the nodes know each other", || is_up(hub) && hub.cluster().nodes().len() == 2)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_shuts_down_is_forgotten_at_once_and_its_last_message_arrives() {
    let redis = RedisServer::start();
    let mut there = Recorded::serve(build(&redis.url())).await;
    let (mut client, _conn) = there.connect().await;
    for number in 0..5 {
        let report = program(&redis.url(), move |hub| async move {
            knows_another(&hub).await;
            hub.try_broadcast(&number).expect("the connection is open");
            let report = hub.shutdown(Duration::from_secs(5)).await;
            assert_eq!(health(&hub).state, BackplaneState::Left);
            report
        });
        assert!(report.is_clean() && report.took < AT_ONCE, "{report}");
        let got = timeout(AT_ONCE, client.get::<u64>()).await;
        assert_eq!(got.expect("the last message arrives"), number);
        let is_forgotten = || there.hub.cluster().nodes().len() == 1;
        timeout(AT_ONCE, eventually("the node is forgotten", is_forgotten)).await.expect("at once");
    }
    assert_eq!(health(&there.hub).lost, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_node_that_shuts_down_are_no_longer_counted() {
    let redis = RedisServer::start();
    let (there, mut here) = (build(&redis.url()), Recorded::serve(build(&redis.url())).await);
    knows_another(&there).await;
    let (_client, conn) = here.connect().await;
    conn.join_subscribed("room").await.expect("the connection is open");
    let counted = || {
        let cluster = there.cluster();
        (cluster.nodes().len(), cluster.connections(), cluster.members("room").members)
    };
    eventually("the heartbeat tells of the member", || counted() == (2, 1, 1)).await;
    here.hub.shutdown(Duration::from_secs(5)).await;
    let is_gone = || counted() == (1, 0, 0);
    timeout(AT_ONCE, eventually("node and member are gone", is_gone)).await.expect("at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_ends_in_time_when_the_backplane_swallows_the_goodbye() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.addr()).await;
    let (here, there) = (build(&proxy.url()), build(&redis.url()));
    knows_another(&here).await;
    knows_another(&there).await;
    proxy.stall();
    here.try_broadcast(&1).expect("the connection is open");
    let report = here.shutdown(Duration::from_millis(1_500)).await;
    assert_eq!(report.messages_unsent, 1, "{report}");
    assert!(report.took < Duration::from_millis(2_500), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goodbye_arrives_when_redis_accepts_no_new_connection() {
    let redis = RedisServer::start();
    let (here, there) = (build(&redis.url()), build(&redis.url()));
    knows_another(&here).await;
    knows_another(&there).await;
    redis.command(&["CONFIG", "SET", "maxclients", "1"]);
    assert!(here.shutdown(Duration::from_secs(5)).await.is_clean());
    let is_forgotten = || there.cluster().nodes().len() == 1;
    timeout(AT_ONCE, eventually("the node is forgotten", is_forgotten)).await.expect("at once");
}
