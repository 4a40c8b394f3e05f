//! Shedding: the hub asks a share of the clients to reconnect elsewhere.

use std::time::Duration;

use roomcast::{Conn, DisconnectReason, Hub, Shutdown};

use support::{Client, Recorded, within};

const LONG: Duration = Duration::from_secs(20);

/// The retry time in the close reason of a client, in milliseconds.
async fn told_wait(client: &mut Client, reason: &str) -> u64 {
    let (code, told) = client.closed().await;
    assert_eq!(code, 1_001);
    let wait = told.strip_prefix(reason).and_then(|told| told.strip_prefix(" retry-after-ms="));
    wait.expect("the reason and a hint").parse().expect("a number")
}

async fn connect<const N: usize>(server: &mut Recorded<u32>) -> Vec<(Client, Conn<u32>)> {
    let mut clients = Vec::new();
    for _ in 0..N {
        clients.push(server.connect().await);
    }
    clients
}

#[tokio::test]
async fn share_of_the_clients_is_told_to_reconnect_at_once_and_the_others_stay() {
    let hub = Hub::<u32>::builder().shards(1).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let clients = connect::<10>(&mut server).await;
    server.hub.try_broadcast(&1).unwrap();
    let asked = within("it is over", server.hub.shed(0.5, Duration::from_millis(50))).await;
    assert_eq!((asked, server.hub.count(), server.hub.stats().shed), (5, 5, 5));
    for _ in 0..asked {
        let (_, reason) = server.events.ended().await;
        assert!(matches!(reason, DisconnectReason::Shed(_)), "{reason}");
    }
    let (newcomer, _) = server.connect().await;
    server.hub.try_broadcast(&2).unwrap();
    let mut stayed = vec![newcomer];
    for (mut client, conn) in clients {
        assert_eq!(client.get::<u32>().await, 1);
        if !conn.is_closed() {
            stayed.push(client);
        } else {
            assert!(told_wait(&mut client, "too many clients here").await <= 500);
        }
    }
    assert_eq!(stayed.len(), 6);
    for client in &mut stayed {
        assert_eq!(client.get::<u32>().await, 2);
    }
}

#[tokio::test]
async fn shutdown_ends_a_shedding_in_progress_and_no_shedding_starts_after_it() {
    let hub = Hub::<u32>::builder().shards(1).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let mut clients = connect::<3>(&mut server).await;
    let shedding = tokio::spawn({
        let hub = hub.clone();
        async move { hub.shed(1.0, LONG * 100).await }
    });
    // The first client is closed at once.
    server.events.ended().await;
    let how = Shutdown::within(LONG).spread_over(Duration::ZERO).move_elsewhere();
    assert!(within("it is over", hub.shutdown(how)).await.is_clean());
    assert_eq!(within("it is over, too", shedding).await.unwrap(), 1);
    let mut moved = 0;
    for (client, _) in &mut clients {
        let (_, told) = client.closed().await;
        moved += usize::from(told.starts_with("hub shut down retry-after-ms="));
    }
    assert_eq!(moved, 2);
    assert_eq!(within("nobody", hub.shed(1.0, LONG)).await, 0);
}

#[tokio::test]
async fn clients_of_a_departing_node_are_told_to_reconnect_within_half_a_second() {
    let mut server = Recorded::serve(Hub::<u32>::new()).await;
    let mut clients = connect::<8>(&mut server).await;
    let how = Shutdown::within(LONG).spread_over(Duration::ZERO).move_elsewhere().reason("bye");
    let hub = server.hub.clone();
    let shutdown = tokio::spawn(async move { hub.shutdown(how).await });
    let mut waits = Vec::new();
    for (client, _) in &mut clients {
        waits.push(told_wait(client, "bye").await);
    }
    assert!(waits.iter().all(|ms| *ms <= 500), "{waits:?}");
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 4, "each its own: {waits:?}");
    assert!(within("it is over", shutdown).await.unwrap().is_clean());
}
