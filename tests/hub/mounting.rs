//! Servers of the application that break the upgrade: the response, and the counter.

use roomcast::Hub;
use tokio_tungstenite::tungstenite::Error;

use support::plain::{Layer, Plain, rebuilt, rebuilt_twice, rebuilt_well};
use support::{Client, RawClient, eventually, upgrade_request};

#[tokio::test]
async fn request_without_its_upgrade_extension_gets_500_and_not_101() {
    let hub = Hub::<u32>::new();
    for layer in [rebuilt as Layer, rebuilt_twice] {
        let server = Plain::serve(&hub, layer, true).await;
        let refused = Client::try_connect(server.addr, "/ws").await;
        let Err(Error::Http(response)) = refused else { panic!("it was not refused") };
        assert_eq!(response.status(), 500);
    }
    let stats = hub.stats();
    assert_eq!((stats.refused_without_upgrade, stats.upgrades_failed, stats.connected), (2, 0, 0));
    let server = Plain::serve(&hub, rebuilt_well, true).await;
    Client::connect(server.addr, "/ws").await;
}

#[tokio::test]
async fn server_without_upgrades_is_counted_apart_from_clients_that_left() {
    let hub = Hub::<u32>::new();
    let server = Plain::serve(&hub, |request| request, false).await;
    let mut client = RawClient::open(server.addr).await;
    client.send(upgrade_request("/ws").as_bytes()).await;
    // hyper reports the missing upgrade only after the response.
    assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
    client.ended().await;
    eventually("it is counted", || hub.stats().upgrades_unsupported == 1).await;
    eventually("nothing is left of it", || hub.stats().connections == 0).await;
    let stats = hub.stats();
    assert_eq!((stats.upgrades_failed, stats.connected, stats.disconnected), (0, 1, 1));
    let correct = Plain::serve(&hub, |request| request, true).await;
    Client::connect(correct.addr, "/ws").await;
}
