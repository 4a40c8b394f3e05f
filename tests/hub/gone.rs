//! Shards that have ended, and faults of the application that must not end a shard.

mod panicking;

use roomcast::{Conn, Hub, JoinError, Local, PublishError, SendError, Target};
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Error;

use support::{Client, Recorded, end_runtime, eventually, other_runtime, within};

/// A hub whose shards run in another runtime than its server. A `static` hub of a program that had another runtime
/// before is such a hub.
async fn elsewhere() -> (Runtime, Recorded<u32>) {
    let runtime = other_runtime();
    let hub = {
        let _inside = runtime.enter();
        Hub::builder().shards(2).build().expect("in range")
    };
    (runtime, Recorded::serve(hub).await)
}

fn is_closed<T>(result: &Result<T, PublishError>) -> bool {
    matches!(result, Err(PublishError::Closed))
}

async fn status(server: &Recorded<u32>) -> u16 {
    match Client::try_connect(server.server.addr, "/ws").await {
        Err(Error::Http(response)) => {
            assert!(response.headers().contains_key("retry-after"), "{response:?}");
            response.status().as_u16()
        }
        other => panic!("not refused: {:?}", other.err()),
    }
}

/// Asserts that every call of the hub reports that the hub is closed.
async fn check_gone(server: &Recorded<u32>) {
    let hub = &server.hub;
    eventually("the hub says that it is closed", || hub.is_closed()).await;
    assert!(hub.is_closing());
    assert!(is_closed(&hub.try_to_room("room", &1)));
    assert!(is_closed(&hub.try_broadcast(&1)));
    assert!(is_closed(&within("a wait", hub.to_room("room", &1)).await));
    assert_eq!((hub.count(), hub.member_count("room"), hub.rooms().await), (0, 0, vec![]));
    assert_eq!(within("an answer", hub.members("room")).await, []);
    let stats = hub.stats();
    assert_eq!((stats.shards_gone, stats.connections, stats.rooms, stats.blocked), (2, 0, 0, 0));
    assert_eq!(status(server).await, 503, "before it is a WebSocket");
    within("the end", hub.closed()).await;
    let report = within("a shutdown", hub.shutdown(std::time::Duration::from_secs(60))).await;
    assert_eq!(report.unfinished, 0, "{report}");
}

#[tokio::test]
async fn hub_whose_runtime_has_ended_is_closed() {
    let (runtime, mut server) = elsewhere().await;
    let (mut client, conn) = server.connect().await;
    conn.try_join("room").unwrap();
    server.hub.try_to_room("room", &1).unwrap();
    assert_eq!(client.get::<u32>().await, 1);
    end_runtime(runtime);
    check_gone(&server).await;
    assert_eq!(server.events.ended().await.0, conn);
    assert_eq!(conn.try_join("room"), Err(JoinError::Closed));
    assert!(matches!(conn.try_send(&1), Err(SendError::Closed)));
    assert!(matches!(within("a wait", conn.send(&1)).await, Err(SendError::Closed)));
}

#[tokio::test]
async fn hub_whose_runtime_was_shut_down_in_the_background_is_closed() {
    let (runtime, mut server) = elsewhere().await;
    let (_client, conn) = server.connect().await;
    conn.try_join("room").unwrap();
    runtime.shutdown_background();
    check_gone(&server).await;
}

#[tokio::test]
async fn wait_for_a_hub_ends_when_the_hubs_runtime_ends() {
    let (runtime, server) = elsewhere().await;
    let hub = server.hub.clone();
    let closed = tokio::spawn(async move { hub.closed().await });
    tokio::task::yield_now().await;
    end_runtime(runtime);
    within("the end", closed).await.expect("no panic");
}

#[tokio::test]
async fn rooms_of_an_ended_shard_are_released() {
    let (runtime, mut server) = elsewhere().await;
    let (_client, conn) = server.connect().await;
    // The shards may have processed some of these commands when they end.
    let joins: Vec<_> = (0..100).map(|room| conn.try_join(&format!("room {room}"))).collect();
    end_runtime(runtime);
    assert!(joins.iter().all(Result::is_ok));
    eventually("none is left", || server.hub.stats().rooms == 0).await;
    let target = Target::room("room 1");
    assert!(is_closed(&server.hub.try_publish(&target, &1)));
}

#[tokio::test]
async fn backplane_reports_that_its_runtime_has_ended() {
    let runtime = other_runtime();
    let hub = {
        let _inside = runtime.enter();
        Hub::<u32>::builder().backplane(Local::new(), "gone").build().expect("in range")
    };
    let state = || hub.backplane_health().expect("the hub has a backplane").state.to_string();
    eventually("it works", || state() == "up").await;
    end_runtime(runtime);
    eventually("it says so", || state() == "down").await;
    let error = hub.backplane_err().expect("a reason").to_string();
    assert!(error.contains("runtime"), "{error}");
    let report = within("a shutdown", hub.shutdown(std::time::Duration::from_secs(60)));
    report.await;
}

#[tokio::test]
async fn connection_of_an_ended_hub_does_not_wait() {
    let (runtime, mut server) = elsewhere().await;
    let (_client, conn): (_, Conn<u32>) = server.connect().await;
    end_runtime(runtime);
    assert!(within("an answer", conn.rooms()).await.is_empty());
    assert_eq!(within("a join", conn.join_subscribed("room")).await, Err(JoinError::Closed));
}
