//! No silent loss: each published message is delivered, or counted as lost, or counted as dropped.

use roomcast::{BackplaneError, BackplaneState, Builder, Hub, Local, Lost, Target};

use support::claims::{Member, is_up, nodes};
use support::eventually;
use support::faulty::Faulty;

const END: u32 = u32::MAX;

/// Waits until `node` has accounted for a sequence of `hub`.
async fn accounted(published: u64, from: &Hub<u32>, at: &Hub<u32>) {
    eventually("all is accounted for", || {
        let (sender, receiver) = (from.backplane_health().unwrap(), at.backplane_health().unwrap());
        receiver.received + receiver.lost + sender.dropped == published
    })
    .await;
}

#[tokio::test]
async fn a_gap_is_counted_to_the_message_when_the_next_one_comes() {
    let bus = Faulty::new();
    let mut nodes = nodes(&bus, 2, 1).await;
    let hub = nodes[0].hub().clone();
    hub.try_broadcast(&1).unwrap();
    assert_eq!(nodes[1].client.get::<u32>().await, 1);
    bus.set(|faults| &faults.swallows, true);
    for message in 2..7 {
        hub.try_broadcast(&message).unwrap();
    }
    eventually("they are acknowledged", || hub.backplane_health().unwrap().published == 6).await;
    bus.set(|faults| &faults.swallows, false);
    hub.try_broadcast(&7).unwrap();
    assert_eq!(nodes[1].client.get::<u32>().await, 7);
    let health = nodes[1].hub().backplane_health().unwrap();
    assert_eq!((health.received, health.lost, health.duplicates), (2, 5, 0));
}

#[tokio::test]
async fn a_lost_tail_is_noticed_by_the_next_heartbeat() {
    let bus = Faulty::new();
    let nodes = nodes(&bus, 2, 1).await;
    let hub = nodes[0].hub();
    bus.set(|faults| &faults.swallows, true);
    for message in 0..5 {
        hub.try_broadcast(&message).unwrap();
    }
    eventually("they are acknowledged", || hub.backplane_health().unwrap().published == 5).await;
    bus.set(|faults| &faults.swallows, false);
    let lost = || nodes[1].hub().backplane_health().unwrap().lost;
    eventually("the tail is counted", || lost() == 5).await;
}

#[tokio::test]
async fn payload_that_arrived_despite_a_failed_publish_is_delivered_once() {
    let bus = Faulty::doubling_and_failing();
    let mut nodes = nodes(&bus, 2, 1).await;
    let hub = nodes[0].hub().clone();
    for message in 0..100 {
        hub.try_broadcast(&message).unwrap();
        assert_eq!(nodes[1].client.get::<u32>().await, message);
    }
    let health = nodes[1].hub().backplane_health().unwrap();
    assert_eq!((health.received, health.lost), (100, 0));
    assert!(health.duplicates >= 100, "{health:?}");
}

#[tokio::test]
async fn an_outage_drops_the_oldest_and_local_members_miss_nothing() {
    let bus = Faulty::new();
    let build = || {
        let builder = Hub::builder().backplane(bus.clone(), "test").outbox_messages(100);
        builder.send_buffer(10_000).build().unwrap()
    };
    let (mut here, mut there) = (Member::of(build()).await, Member::of(build()).await);
    eventually("they know each other", || there.hub().cluster().connections() == 2).await;
    bus.set(|faults| &faults.is_away, true);
    for message in 0..1_000 {
        here.hub().try_broadcast(&message).unwrap();
    }
    assert!(here.client.get_many::<u32>(1_000).await.into_iter().eq(0..1_000));
    let health = here.hub().backplane_health().unwrap();
    // The messages of the envelope that was being published are not in the queue.
    assert!((900 - 200..=900).contains(&health.dropped), "{health:?}");
    assert!(health.queued <= 100, "{health:?}");
    let waiting = (health.queued + health.in_flight) as u64;
    assert_eq!(waiting, 1_000 - health.dropped - health.published);
    eventually("the outage is noticed", || !is_up(here.hub())).await;
    bus.set(|faults| &faults.is_away, false);
    here.hub().try_broadcast(&1_000).unwrap();
    let got = there.until(1_000).await;
    assert!(got.ends_with(&(901..1_000).collect::<Vec<u32>>()), "the newest are kept: {got:?}");
    accounted(1_001, here.hub(), there.hub()).await;
}

#[tokio::test]
async fn a_subscription_that_is_lost_is_made_again_and_the_gap_is_counted() {
    let bus = Faulty::new();
    let mut nodes = nodes(&bus, 2, 8).await;
    nodes[0].conn.join_subscribed("r").await.unwrap();
    let hub = nodes[1].hub().clone();
    hub.try_to_room("r", &1).unwrap();
    assert_eq!(nodes[0].client.get::<u32>().await, 1);
    let mut published = 1;
    for lose in [
        |error| {
            Lost::Channels(
                (0..8).map(|number| format!("roomcast:test:{number}").into()).collect(),
                error,
            )
        },
        Lost::Everything,
    ] {
        let error = BackplaneError::SubscriptionLost("a slot has moved".to_owned());
        let mut changes = nodes[0].hub().backplane_changes().unwrap();
        bus.lose(lose(error.clone()));
        // No node is subscribed. The message is lost or waits for the connection; the sum of both is certain.
        hub.try_to_room("r", &2).unwrap();
        assert_eq!(changes.next().await, Some(BackplaneState::Down));
        assert_eq!(changes.next().await, Some(BackplaneState::Up));
        assert_eq!(nodes[0].hub().backplane_health().unwrap().last_error, Some(error));
        hub.try_to_room("r", &END).unwrap();
        nodes[0].until(END).await;
        published += 2;
        accounted(published, &hub, nodes[0].hub()).await;
    }
}

/// Two nodes on eight channels: one with a working driver and one with a faulty driver.
async fn sound_and_faulty(bus: &Faulty) -> (Member, Member) {
    let build = |builder: Builder<u32>| builder.channels(8).build().unwrap();
    let sound = build(Hub::builder().send_buffer(65_536).backplane(bus.sound(), "test"));
    let faulty = build(Hub::builder().backplane(bus.clone(), "test"));
    let (sound, faulty) = (Member::of(sound).await, Member::of(faulty).await);
    for member in [&sound, &faulty] {
        eventually("they know each other", || member.hub().cluster().nodes().len() == 2).await;
    }
    (sound, faulty)
}

fn subscriptions(member: &Member) -> usize {
    member.hub().backplane_health().unwrap().subscriptions
}

#[tokio::test]
async fn lost_tail_of_a_departing_node_is_noticed_by_its_goodbye() {
    let bus = Faulty::new();
    let (mut there, here) = sound_and_faulty(&bus).await;
    there.conn.join_subscribed("r").await.unwrap();
    here.hub().try_to_room("r", &0).unwrap();
    assert_eq!(there.client.get::<u32>().await, 0);
    bus.set(|faults| &faults.swallows, true);
    (1..6).for_each(|message| here.hub().try_to_room("r", &message).unwrap());
    let published = || here.hub().backplane_health().unwrap().published;
    eventually("they are acknowledged", || published() == 6).await;
    bus.set(|faults| &faults.swallows, false);
    drop(here);
    let lost = || there.hub().backplane_health().unwrap().lost;
    eventually("the tail is counted", || lost() == 5).await;
}

#[tokio::test]
async fn duplicate_is_dropped_although_its_channel_was_released_meanwhile() {
    let bus = Faulty::new();
    let (mut there, here) = sound_and_faulty(&bus).await;
    there.conn.join_subscribed("r").await.unwrap();
    bus.set(|faults| &faults.is_mute, true);
    here.hub().try_to_room("r", &1).unwrap();
    assert_eq!(there.client.get::<u32>().await, 1);
    bus.set(|faults| &faults.is_away, true);
    there.conn.try_leave("r").unwrap();
    eventually("the channel is released", || subscriptions(&there) == 1).await;
    there.conn.join_subscribed("r").await.unwrap();
    bus.set(|faults| &faults.is_mute, false);
    bus.set(|faults| &faults.is_away, false);
    here.hub().try_to_room("r", &2).unwrap();
    assert_eq!(there.client.get::<u32>().await, 2, "1 has come before");
}

#[tokio::test]
async fn nothing_is_lost_on_a_channel_whose_release_failed() {
    let bus = Faulty::new();
    let (here, mut there) = sound_and_faulty(&bus).await;
    there.conn.join_subscribed("r").await.unwrap();
    here.hub().try_to_room("r", &0).unwrap();
    assert_eq!(there.client.get::<u32>().await, 0);
    bus.set(|faults| &faults.keeps, true);
    there.conn.try_leave("r").unwrap();
    let is_over = || there.hub().backplane_health().unwrap().reconnects == 1 && is_up(there.hub());
    eventually("it is connected again", is_over).await;
    bus.set(|faults| &faults.keeps, false);
    assert_eq!(subscriptions(&there), 1);
    (1..11).for_each(|message| here.hub().try_to_room("r", &message).unwrap());
    let published = || here.hub().backplane_health().unwrap().published;
    eventually("they are acknowledged", || published() == 11).await;
    there.conn.join_subscribed("r").await.unwrap();
    here.hub().try_to_room("r", &11).unwrap();
    assert_eq!(there.client.get::<u32>().await, 11);
    assert_eq!(there.hub().backplane_health().unwrap().lost, 0, "no node was subscribed");
}

#[tokio::test]
async fn refused_channel_delays_no_other_channel_and_loses_nothing() {
    let bus = Faulty::new();
    let (mut there, here) = sound_and_faulty(&bus).await;
    // Some of these rooms are on the channel that the bus will refuse.
    let rooms: Vec<String> = (0..64).map(|number| format!("room {number}")).collect();
    for room in &rooms {
        there.conn.join_subscribed(room).await.unwrap();
    }
    bus.refuse(Some("roomcast:test:3"));
    let say = |room: &str, from: u32| {
        (from..from + 50).for_each(|message| here.hub().try_to_room(room, &message).unwrap());
    };
    rooms.iter().for_each(|room| say(room, 0));
    let received = || there.hub().backplane_health().unwrap().received;
    eventually("the others arrive", || received() > 64 * 50 / 2).await;
    eventually("the refusal is reported", || here.hub().backplane_err().is_some()).await;
    let held = || here.hub().backplane_health().unwrap().in_flight as u64;
    eventually("the rest is held", || received() + held() == 64 * 50).await;
    assert!(held() > 0);
    let before = received();
    rooms.iter().for_each(|room| say(room, 50));
    eventually("the others go on", || received() >= 2 * before).await;
    bus.refuse(None);
    eventually("all has arrived", || received() == 64 * 100).await;
    let mut got: Vec<u32> = there.client.get_many(64 * 100).await;
    got.sort_unstable();
    assert!(got.into_iter().eq((0..100).flat_map(|message| [message; 64])), "each once");
    eventually("all is well", || is_up(here.hub())).await;
    let health = there.hub().backplane_health().unwrap();
    assert_eq!((health.lost, here.hub().backplane_health().unwrap().dropped), (0, 0));
}

#[tokio::test]
async fn node_that_cannot_keep_up_counts_the_messages_it_had_no_space_for() {
    let bus = Local::new();
    let mut nodes = nodes(&bus, 2, 1).await;
    let hub = nodes[0].hub().clone();
    // The runtime of this test has one thread: while the test publishes, no node receives.
    let large = hub.encode(&7).unwrap();
    for _ in 0..50_000 {
        hub.try_publish_encoded(&Target::conn(nodes[1].conn.id()), &large).unwrap();
    }
    hub.try_publish(&Target::conn(nodes[1].conn.id()), &8).unwrap();
    let got = nodes[1].until(8).await;
    accounted(50_001, &hub, nodes[1].hub()).await;
    let lost = nodes[1].hub().backplane_health().unwrap().lost;
    assert_eq!(got.len() as u64 + lost + hub.backplane_health().unwrap().dropped, 50_000);
}
