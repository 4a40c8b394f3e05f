//! Forged envelopes: a hub judges each envelope by its content, and a forged envelope does no harm.

use std::time::Duration;

use roomcast::{Backplane, BackplaneError, Hub, Local, Parcel, Publisher};

use support::claims::is_up;
use support::eventually;

/// The common channel of all hubs that are called `test`.
pub(super) const COMMON: &str = "roomcast:test:all";

/// The heartbeat of a node that does not exist, with its number of connections and its number of channels. Written
/// from the documentation of the format.
pub(super) fn heartbeat(node: u8, connections: u64, spread: u16) -> Vec<u8> {
    let mut bytes = b"RCE\x02\x01".to_vec();
    bytes.extend([node; 16]);
    bytes.extend([0; 8 + 8 + 4]);
    bytes.push(4);
    bytes.extend(connections.to_le_bytes());
    bytes.extend(spread.to_le_bytes());
    bytes.extend([0; 4 + 4]);
    bytes
}

pub(super) async fn publish(bus: &Local, payload: Vec<u8>) {
    let mut publisher = bus.connect_publisher().await.unwrap();
    let mut parcels = vec![Parcel { channel: COMMON.into(), payload: payload.into() }];
    publisher.publish(&mut parcels).await.unwrap();
}

#[tokio::test]
async fn connection_counts_of_forged_heartbeats_saturate() {
    let bus = Local::new();
    let hub: Hub<u32> = Hub::builder().backplane(bus.clone(), "test").build().unwrap();
    eventually("it is up", || is_up(&hub)).await;
    for node in [7, 8] {
        publish(&bus, heartbeat(node, u64::MAX, 1)).await;
    }
    eventually("the forged heartbeats are accepted", || hub.cluster().nodes().len() == 3).await;
    assert_eq!(hub.cluster().connections(), u64::MAX);
}

#[tokio::test(start_paused = true)]
async fn misconfigured_node_that_falls_silent_is_forgotten() {
    let bus = Local::new();
    let hub = Hub::<u32>::builder().backplane(bus.clone(), "test").channels(8).build().unwrap();
    eventually("it is up", || is_up(&hub)).await;
    publish(&bus, heartbeat(7, 0, 9)).await;
    let differ = BackplaneError::ChannelsDiffer { ours: 8, theirs: 9 };
    eventually("the difference is reported", || hub.backplane_err() == Some(differ.clone())).await;
    tokio::time::advance(Duration::from_secs(15)).await;
    eventually("the report ends", || hub.backplane_err().is_none()).await;
    assert_eq!(hub.cluster().nodes().len(), 1);
}
