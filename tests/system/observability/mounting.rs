//! Warnings about faults in the program around a hub.

use roomcast::header::{CONTENT_LENGTH, HeaderValue};
use roomcast::{Handler, Hub, Reject, UpgradeRequest};

use crate::log::Log;
use support::plain::{Plain, rebuilt};
use support::{Client, RawClient, eventually, serve, upgrade_request};

#[tokio::test]
async fn request_without_its_upgrade_extension_logs_a_warning_that_names_the_cause() {
    let log = Log::new("info");
    let hub = Hub::<u32>::builder().name("lost").build().expect("valid");
    let server = Plain::serve(&hub, rebuilt, true).await;
    for _ in 0..20 {
        assert!(Client::try_connect(server.addr, "/ws").await.is_err());
    }
    assert_eq!(hub.stats().refused_without_upgrade, 20);
    let told = log.with("the request has lost its upgrade");
    let expected = "WARN roomcast::hub: the request has lost its upgrade: a layer has taken it, or has \
                    rebuilt the request without its extensions hub=\"lost\" times=1";
    assert_eq!(told.first().map(String::as_str), Some(expected));
    assert!(told.len() < 20, "once a second: {told:#?}");
}

#[tokio::test]
async fn server_without_upgrades_logs_a_warning_with_the_remedy() {
    let log = Log::new("info");
    let hub = Hub::<u32>::builder().name("plain").build().expect("valid");
    let server = Plain::serve(&hub, |request| request, false).await;
    for _ in 0..20 {
        let mut client = RawClient::open(server.addr).await;
        client.send(upgrade_request("/ws").as_bytes()).await;
        client.ended().await;
    }
    eventually("all are counted", || hub.stats().upgrades_unsupported == 20).await;
    let told = log.with("does not upgrade");
    let expected = "WARN roomcast::hub: the server in front of the hub does not upgrade: serve its \
                    connections with `with_upgrades` hub=\"plain\" times=1";
    assert_eq!(told.first().map(String::as_str), Some(expected));
    assert!(told.len() < 20, "once a second: {told:#?}");
}

/// Sets a header that handlers may not set.
struct Careless;

impl Handler<u32> for Careless {
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        request.response_headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        Ok(())
    }
}

#[tokio::test]
async fn handler_that_sets_a_handshake_header_causes_a_warning_with_its_name() {
    let log = Log::new("info");
    let hub = Hub::<u32>::builder().name("careless").build().expect("valid");
    let server = serve(hub.handle(Careless)).await;
    for _ in 0..20 {
        Client::connect(server.addr, "/ws").await;
    }
    let told = log.with("response header left out");
    let end = "`on_upgrade` cannot set it hub=\"careless\" name=content-length times=1";
    assert!(told[0].ends_with(end), "{}", told[0]);
    assert!(told.len() < 20, "once a second: {told:#?}");
}

#[tokio::test]
async fn limit_per_address_without_addresses_logs_one_warning_per_hub() {
    let log = Log::new("info");
    let limited = |name: &str| Hub::<u32>::builder().name(name).max_connections_per_addr(1);
    for hub in [limited("first"), limited("second"), Hub::builder().name("unlimited")] {
        let hub = hub.build().expect("valid");
        let server = Plain::serve(&hub, |request| request, true).await;
        let _clients =
            [Client::connect(server.addr, "/ws").await, Client::connect(server.addr, "/ws").await];
    }
    let server = limited("known").build().expect("valid");
    let server = serve(server.handle(server.handlers())).await;
    Client::connect(server.addr, "/ws").await;
    let told = log.with("limits per address do nothing");
    assert!(told.iter().all(|line| line.starts_with("WARN roomcast::hub: ")), "{told:#?}");
    let ends = [r#"hub="first""#, r#"hub="second""#];
    assert_eq!(told.len(), ends.len(), "{told:#?}");
    assert!(told.iter().zip(ends).all(|(line, end)| line.ends_with(end)), "{told:#?}");
}
