//! Joins that wait for a subscription while the backplane is unreachable.

use std::time::Duration;

use roomcast::{BuildError, Hub, Shutdown};

use support::claims::is_up;
use support::faulty::Faulty;
use support::{Client, Listening, eventually, serve, within};

/// The message to a client after its join: whether the node is subscribed to its room.
const SUBSCRIBED: u32 = 1;
const NOT_SUBSCRIBED: u32 = 0;

const LONG: Duration = Duration::from_secs(20);

fn hub_on(bus: &Faulty, subscribe_timeout: Duration) -> Hub<u32> {
    let builder = Hub::builder().backplane(bus.clone(), "test");
    builder.subscribe_timeout(subscribe_timeout).build().unwrap()
}

/// A server whose `on_connect` waits for the subscription, and a client of this server.
async fn joining(hub: &Hub<u32>) -> (Listening, Client) {
    let handlers = hub.handlers().on_connect(async |conn| {
        let is_subscribed = conn.join_subscribed("r").await?;
        conn.send(&u32::from(is_subscribed)).await?;
        Ok(())
    });
    let server = serve(hub.handle(handlers)).await;
    let client = Client::connect(server.addr, "/ws").await;
    (server, client)
}

#[tokio::test]
async fn client_is_served_in_time_when_its_join_gets_no_subscription() {
    let bus = Faulty::new();
    bus.set(|faults| &faults.is_away, true);
    let hub = hub_on(&bus, Duration::from_millis(100));
    let (_server, mut client) = joining(&hub).await;
    assert_eq!(client.get::<u32>().await, NOT_SUBSCRIBED);
    assert_eq!(hub.stats().subscribe_timeouts, 1);
    hub.try_to_room("r", &7).unwrap();
    assert_eq!(client.get::<u32>().await, 7, "the client is a member nevertheless");

    bus.set(|faults| &faults.is_away, false);
    bus.invite();
    let other = hub_on(&bus, LONG);
    eventually("both are up", || is_up(&hub) && is_up(&other)).await;
    other.try_to_room("r", &8).unwrap();
    assert_eq!(client.get::<u32>().await, 8, "and of the room on all nodes, later");
    assert_eq!(hub.stats().subscribe_timeouts, 1);
}

#[tokio::test]
async fn join_reports_that_its_subscription_was_confirmed() {
    let bus = Faulty::new();
    bus.set(|faults| &faults.is_away, true);
    let hub = hub_on(&bus, LONG);
    let (_server, mut client) = joining(&hub).await;
    eventually("it waits", || hub.member_count("r") == 1).await;
    bus.set(|faults| &faults.is_away, false);
    bus.invite();
    assert_eq!(client.get::<u32>().await, SUBSCRIBED);
    let (_server, mut at_once) = joining(&hub).await;
    assert_eq!(at_once.get::<u32>().await, SUBSCRIBED);
    assert_eq!(hub.stats().subscribe_timeouts, 0);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_waiting_joins() {
    let bus = Faulty::new();
    bus.set(|faults| &faults.is_away, true);
    let hub = hub_on(&bus, Duration::from_secs(24 * 60 * 60));
    let (_server, mut client) = joining(&hub).await;
    eventually("it waits", || hub.member_count("r") == 1).await;
    // The client gets its message at once, long before the shutdown closes it.
    let how = Shutdown::within(LONG).spread_over(LONG / 2);
    let shutdown = tokio::spawn({
        let hub = hub.clone();
        async move { hub.shutdown(how).await }
    });
    assert_eq!(client.get::<u32>().await, NOT_SUBSCRIBED);
    hub.shutdown_now();
    assert_eq!(client.closed().await.0, 1_001);
    let report = within("it is over", shutdown).await.unwrap();
    assert!(report.unfinished == 0 && report.took < LONG / 2, "{report}");
    assert_eq!(hub.stats().subscribe_timeouts, 0);
}

#[tokio::test]
async fn wait_out_of_range_is_refused() {
    for timeout in [Duration::ZERO, Duration::from_millis(9), Duration::from_secs(86_401)] {
        let built = Hub::<u32>::builder().subscribe_timeout(timeout).build();
        assert!(matches!(built, Err(BuildError::OutOfRange { setting: "subscribe_timeout", .. })));
    }
}
