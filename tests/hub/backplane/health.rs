//! The health of a backplane: the hub reports each fault, and reports when the fault has ended.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use roomcast::{
    BackplaneError, BackplaneRequest, BackplaneState, BuildError, Hub, JoinError, Local, Lost,
};

use super::strangers::COMMON;
use support::claims::{Member, is_up, nodes};
use support::faulty::Faulty;
use support::{eventually, within};

fn hub_on(bus: &Faulty) -> Hub<u32> {
    Hub::builder().backplane(bus.clone(), "test").build().unwrap()
}

#[tokio::test]
async fn hub_without_a_backplane_has_no_health_and_no_other_nodes() {
    let hub = Hub::<u32>::new();
    assert_eq!(hub.backplane_health(), None);
    assert_eq!(hub.backplane_err(), None);
    assert!(hub.backplane_changes().is_none());
    assert_eq!(hub.cluster().nodes().len(), 1);
    let mut member = Member::of(hub).await;
    within("nothing to wait for", member.conn.join_subscribed("r")).await.unwrap();
    assert_eq!(member.hub().cluster().members("r").members, 1);
    member.hub().try_to_room("r", &1).unwrap();
    assert_eq!(member.client.get::<u32>().await, 1);
}

#[tokio::test]
async fn unreachable_backplane_is_reported_and_reconnects_by_itself() {
    let bus = Faulty::new();
    bus.set(|faults| &faults.is_away, true);
    let hub = hub_on(&bus);
    let mut changes = hub.backplane_changes().unwrap();
    assert_eq!(hub.backplane_health().unwrap().state, BackplaneState::Connecting);
    assert_eq!(hub.backplane_err(), None);
    assert_eq!(within("it is noticed", changes.next()).await, Some(BackplaneState::Down));
    assert!(matches!(hub.backplane_err(), Some(BackplaneError::Connection(_))));
    bus.set(|faults| &faults.is_away, false);
    assert_eq!(within("it recovers", changes.next()).await, Some(BackplaneState::Up));
    assert_eq!(hub.backplane_err(), None);
    assert!(hub.backplane_health().unwrap().last_error.is_some(), "the last error is kept");
    drop(hub);
    assert_eq!(within("the hub is gone", changes.next()).await, None);
}

/// After two minutes of failures each retry delay is between five and ten seconds.
#[tokio::test(start_paused = true)]
async fn driver_that_reports_a_change_is_reconnected_without_delay() {
    let bus = Faulty::new();
    bus.set(|faults| &faults.is_away, true);
    let hub = hub_on(&bus);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let reconnects = || hub.backplane_health().unwrap().reconnects;
    for _ in 0..2 {
        let before = reconnects();
        let failed_again = eventually("it has just failed", || reconnects() > before);
        failed_again.await;
    }
    bus.set(|faults| &faults.is_away, false);
    let began = tokio::time::Instant::now();
    bus.invite();
    eventually("up", || is_up(&hub)).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn silence_is_noticed_within_seven_seconds() {
    let bus = Faulty::new();
    let hub = hub_on(&bus);
    eventually("it is up", || is_up(&hub)).await;
    bus.set(|faults| &faults.is_silent, true);
    let noticed = tokio::time::timeout(
        Duration::from_millis(7_500),
        eventually("the silence is noticed", || hub.backplane_err().is_some()),
    );
    noticed
        .await
        .expect("silence is noticed within seven seconds, plus half a second for a busy machine");
    let Some(BackplaneError::Silent { request, .. }) = hub.backplane_err() else {
        panic!("{:?}", hub.backplane_err())
    };
    assert!(matches!(request, BackplaneRequest::Ping | BackplaneRequest::Publish), "{request}");
    bus.set(|faults| &faults.is_silent, false);
    eventually("it recovers", || is_up(&hub)).await;
    assert!(hub.backplane_health().unwrap().probe_round_trip.is_none_or(|time| !time.is_zero()));
}

#[tokio::test]
async fn a_driver_that_panics_is_connected_again() {
    let bus = Faulty::new();
    let mut nodes = nodes(&bus, 2, 1).await;
    bus.set(|faults| &faults.panics, true);
    nodes[0].hub().try_broadcast(&1).unwrap();
    eventually("the panic is reported", || nodes[0].hub().backplane_err().is_some()).await;
    bus.set(|faults| &faults.panics, false);
    assert_eq!(nodes[1].client.get::<u32>().await, 1);
    eventually("it recovers", || is_up(nodes[0].hub())).await;
}

#[tokio::test]
async fn a_subscriber_that_panics_is_subscribed_again() {
    let bus = Faulty::new();
    let mut nodes = nodes(&bus, 2, 1).await;
    bus.set(|faults| &faults.panics, true);
    bus.lose(Lost::Everything(BackplaneError::Connection("never told".to_owned())));
    for member in &nodes {
        eventually("the panic is reported", || member.hub().backplane_err().is_some()).await;
    }
    bus.set(|faults| &faults.panics, false);
    for member in &nodes {
        eventually("it recovers", || is_up(member.hub())).await;
        member.conn.join_subscribed("r").await.unwrap();
    }
    nodes[0].hub().try_broadcast(&1).unwrap();
    assert_eq!(nodes[1].client.get::<u32>().await, 1);
}

#[tokio::test]
async fn refused_channel_delays_no_other_channel_and_is_forgotten_with_its_rooms() {
    let bus = Faulty::new();
    let hub = Hub::builder().backplane(bus.clone(), "test").channels(8).build().unwrap();
    let member = Member::of(hub).await;
    eventually("it is up", || is_up(member.hub())).await;
    bus.refuse(Some("roomcast:test:0"));
    let rooms: Vec<String> = (0..64).map(|number| format!("room {number}")).collect();
    rooms.iter().for_each(|room| member.conn.try_join(room).unwrap());
    eventually("the refusal is reported", || {
        matches!(member.hub().backplane_err(), Some(BackplaneError::Refused(_)))
    })
    .await;
    let subscriptions = || member.hub().backplane_health().unwrap().subscriptions;
    eventually("the others are subscribed", || subscriptions() == 8).await;
    rooms.iter().for_each(|room| member.conn.try_leave(room).unwrap());
    eventually("nobody needs it any more", || is_up(member.hub()) && subscriptions() == 1).await;
}

#[tokio::test]
async fn silence_is_noticed_as_fast_with_many_subscriptions() {
    let bus = Faulty::new();
    let hub = Hub::builder().backplane(bus.clone(), "test").channels(4_096);
    let member = Member::of(hub.max_rooms_per_conn(8_000).build().unwrap()).await;
    eventually("it is up", || is_up(member.hub())).await;
    bus.set(|faults| &faults.is_silent, true);
    (0..8_000).for_each(|room| member.conn.try_join(&room.to_string()).unwrap());
    let told = eventually("the silence is reported", || member.hub().backplane_err().is_some());
    tokio::time::timeout(Duration::from_millis(7_500), told)
        .await
        .expect("noticed as fast as with few");
}

#[tokio::test]
async fn greeting_that_was_lost_is_repeated() {
    let bus = Faulty::new();
    let there: Hub<u32> = Hub::builder().backplane(bus.sound(), "test").build().unwrap();
    eventually("it is up", || is_up(&there)).await;
    bus.refuse(Some(COMMON));
    let here = hub_on(&bus);
    eventually("the refusal is reported", || here.backplane_err().is_some()).await;
    bus.refuse(None);
    eventually("it is up", || is_up(&here)).await;
    let answer = eventually("the other answers", || here.cluster().nodes().len() == 2);
    // Without a request the node would send its next heartbeat after five seconds.
    tokio::time::timeout(Duration::from_secs(3), answer).await.expect("the node answers at once");
}

#[tokio::test]
async fn join_that_has_waited_leaves_no_waiter_behind() {
    let member = Member::of(hub_on(&Faulty::new())).await;
    eventually("it is up", || is_up(member.hub())).await;
    let task = Arc::new(Task);
    for _ in 0..100 {
        let waker = Waker::from(task.clone());
        let mut joining = pin!(member.conn.join_subscribed("r"));
        while joining.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {}
    }
    assert_eq!(Arc::strong_count(&task), 1, "no waker is kept");
}

/// A task that polls a future until the future is done.
struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test]
async fn silently_lost_subscription_is_noticed_by_its_missing_echo() {
    let bus = Faulty::new();
    let hub = hub_on(&bus);
    eventually("it is up", || is_up(&hub)).await;
    // From here on no payload comes back, although the bus answers every request.
    bus.set(|faults| &faults.swallows, true);
    eventually("the missing heartbeat is noticed", || {
        matches!(hub.backplane_err(), Some(BackplaneError::SubscriptionLost(_)))
    })
    .await;
    bus.set(|faults| &faults.swallows, false);
    eventually("it recovers", || is_up(&hub)).await;
}

#[tokio::test]
async fn nodes_with_different_numbers_of_channels_report_each_other() {
    let bus = Local::new();
    let eight = Hub::<u32>::builder().backplane(bus.clone(), "test").channels(8).build().unwrap();
    let nine = Hub::<u32>::builder().backplane(bus.clone(), "test").channels(9).build().unwrap();
    let differ = |ours, theirs| Some(BackplaneError::ChannelsDiffer { ours, theirs });
    eventually("one node reports the difference", || eight.backplane_err() == differ(8, 9)).await;
    eventually("the other node reports the difference", || nine.backplane_err() == differ(9, 8))
        .await;
    drop(nine);
    eventually("the report ends when the other node leaves", || is_up(&eight)).await;
}

#[tokio::test]
async fn an_awaited_join_waits_for_the_backplane_and_ends_with_the_connection() {
    let bus = Faulty::new();
    bus.set(|faults| &faults.is_away, true);
    let mut member = Member::of(hub_on(&bus)).await;
    let conn = member.conn.clone();
    let joining = tokio::spawn(async move { conn.join_subscribed("r").await });
    let conn = member.conn.clone();
    let joining_too = tokio::spawn(async move { conn.join_subscribed("r").await });
    eventually("it is a member at once", || member.hub().member_count("r") >= 1).await;
    member.hub().try_to_room("r", &1).unwrap();
    assert_eq!(member.client.get::<u32>().await, 1);
    assert!(!joining.is_finished());
    member.conn.close();
    assert_eq!(within("it ends", joining).await.unwrap(), Err(JoinError::Closed));
    assert_eq!(within("it ends", joining_too).await.unwrap(), Err(JoinError::Closed));
    assert_eq!(member.client.closed().await.0, 1000);
}

#[tokio::test]
async fn settings_out_of_range_are_refused() {
    let builder = || Hub::<u32>::builder().backplane(Local::new(), "test");
    for built in [
        builder().channels(0).build(),
        builder().channels(4_097).build(),
        builder().outbox_messages(0).build(),
        builder().outbox_bytes(0).build(),
    ] {
        assert!(matches!(built, Err(BuildError::OutOfRange { .. })));
    }
    assert!(builder().channels(4_096).build().is_ok());
}
