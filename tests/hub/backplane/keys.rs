//! The key that nodes share: a hub ignores envelopes that were not signed with the key, and they do no harm.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use roomcast::{
    Backplane, BackplaneError, BackplaneHealth, BuildError, Builder, Hub, Inbound, Local,
    LocalPublisher, LocalSubscriber, NodeId, Parcel, Publisher, Unpublished,
};
use sha2::Sha256;

use super::strangers::COMMON;
use super::strangers::{heartbeat, publish};
use support::claims::{Member, is_up};
use support::eventually;
use support::faulty::Faulty;

const KEY: &[u8] = b"sixteen bytes or";
const ANOTHER: &[u8] = b"more are to be random";

/// A bus that records the envelopes of a node.
#[derive(Clone, Default)]
struct Tapped {
    bus: Local,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tapped {
    /// The recorded envelopes of one kind: kind 0 is messages, kind 1 is heartbeats.
    fn sent(&self, kind: u8) -> Vec<Vec<u8>> {
        let sent = self.sent.lock().unwrap();
        sent.iter().filter(|payload| payload[4] == kind).cloned().collect()
    }
}

impl Backplane for Tapped {
    type Publisher = TappedPublisher;
    type Subscriber = LocalSubscriber;

    async fn connect_publisher(&self) -> Result<TappedPublisher, BackplaneError> {
        Ok(TappedPublisher { half: self.bus.connect_publisher().await?, sent: self.sent.clone() })
    }

    async fn connect_subscriber(
        &self,
        inbound: Inbound,
    ) -> Result<LocalSubscriber, BackplaneError> {
        self.bus.connect_subscriber(inbound).await
    }
}

struct TappedPublisher {
    half: LocalPublisher,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Publisher for TappedPublisher {
    async fn publish(&mut self, parcels: &mut Vec<Parcel>) -> Result<(), Unpublished> {
        self.sent.lock().unwrap().extend(parcels.iter().map(|parcel| parcel.payload.to_vec()));
        self.half.publish(parcels).await
    }
}

fn builder<B: Backplane>(bus: B) -> Builder<u32> {
    Hub::builder().backplane(bus, "test")
}

fn keyed<B: Backplane>(bus: B) -> Hub<u32> {
    builder(bus).backplane_key(KEY).build().unwrap()
}

fn health(hub: &Hub<u32>) -> BackplaneHealth {
    hub.backplane_health().unwrap()
}

async fn know_each_other(hubs: &[&Hub<u32>]) {
    for hub in hubs {
        let knows = || hub.cluster().nodes().len() == hubs.len();
        eventually("they know each other", || is_up(hub) && knows()).await;
    }
}

/// The bytes of a node's identity, from its text.
fn bytes_of(node: NodeId) -> [u8; 16] {
    u128::from_str_radix(&node.to_string(), 16).unwrap().to_be_bytes()
}

/// The envelope of a node's first message, to everyone. Written from the documentation of the format.
fn message(node: [u8; 16], epoch: u64, text: &str) -> Vec<u8> {
    let mut bytes = b"RCE\x02\x00".to_vec();
    bytes.extend(node);
    bytes.extend(epoch.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.push(0);
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// Signs an envelope. Written from the documentation of the format.
fn signed(key: &[u8], channel: &str, mut envelope: Vec<u8>) -> Vec<u8> {
    envelope[3] |= 0x80;
    let mut signature = Hmac::<Sha256>::new_from_slice(key).unwrap();
    signature.update(&(channel.len() as u64).to_le_bytes());
    signature.update(channel.as_bytes());
    signature.update(&envelope);
    envelope.extend(&signature.finalize().into_bytes()[..16]);
    envelope
}

#[tokio::test]
async fn envelope_signed_as_documented_is_delivered() {
    let bus = Local::new();
    let mut member = Member::of(keyed(bus.clone())).await;
    eventually("it is up", || is_up(member.hub())).await;
    publish(&bus, signed(KEY, COMMON, message([7; 16], 1, "42"))).await;
    assert_eq!(member.client.get::<u32>().await, 42);
}

#[tokio::test]
async fn envelopes_of_strangers_reach_nobody_and_are_counted() {
    let bus = Tapped::default();
    let mut member = Member::of(keyed(bus.clone())).await;
    eventually("it is up", || is_up(member.hub())).await;
    let text = || message([7; 16], 1, "42");
    let whole = signed(KEY, COMMON, text());
    let mut forged = vec![
        Vec::new(),
        b"garbage".to_vec(),
        text(),
        message(bytes_of(member.hub().node_id()), 1, "42"),
        heartbeat(7, 1_000, 9),
        signed(ANOTHER, COMMON, text()),
        signed(b"", COMMON, text()),
        signed(KEY, "roomcast:test:0", text()),
        [text(), vec![0; 16]].concat(),
    ];
    forged.extend((0..whole.len()).map(|length| whole[..length].to_vec()));
    forged.extend((0..8 * whole.len()).map(|bit| {
        let mut changed = whole.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        changed
    }));
    for payload in &forged {
        publish(&bus.bus, payload.clone()).await;
    }
    member.hub().try_broadcast(&1).unwrap();
    publish(&bus.bus, signed(KEY, COMMON, message([8; 16], 1, "2"))).await;
    let mut got: Vec<u32> = member.client.get_many(2).await;
    got.sort_unstable();
    assert_eq!(got, [1, 2]);
    let health = health(member.hub());
    assert_eq!(health.unauthenticated, forged.len() as u64);
    assert_eq!((health.received, health.garbage, health.unknown_version), (1, 0, 0));
    assert_eq!((health.lost, health.duplicates, health.overrun), (0, 0, 0));
    assert_eq!(member.hub().cluster().nodes().len(), 1);
    assert!(is_up(member.hub()));
}

#[tokio::test]
async fn envelope_of_one_channel_is_invalid_on_another() {
    let bus = Tapped::default();
    let hub = keyed(bus.clone());
    let other = Hub::<u32>::builder().backplane(bus.clone(), "other").backplane_key(KEY);
    let other = other.build().unwrap();
    know_each_other(&[&hub]).await;
    bus.sent.lock().unwrap().clear();
    other.try_broadcast(&1).unwrap();
    eventually("it is published", || health(&other).published == 1).await;
    let moved = bus.sent(0);
    publish(&bus.bus, moved[0].clone()).await;
    assert_eq!((moved.len(), health(&hub).unauthenticated), (1, 1));
    assert_eq!(health(&hub).received, 0);
}

#[tokio::test]
async fn nodes_with_different_keys_ignore_each_other_and_count_it() {
    let bus = Local::new();
    let one = Member::of(keyed(bus.clone())).await;
    let other = Member::of(builder(bus.clone()).backplane_key(ANOTHER).build().unwrap()).await;
    let none = Member::of(builder(bus.clone()).build().unwrap()).await;
    let mut members = [one, other, none];
    for member in &members {
        eventually("it is up", || is_up(member.hub())).await;
    }
    for (number, member) in (1..).zip(&mut members) {
        member.hub().try_broadcast(&number).unwrap();
        assert_eq!(member.client.get::<u32>().await, number, "its own message, and no other");
    }
    for member in &members {
        member.hub().try_broadcast(&9).unwrap();
        eventually("it is published", || health(member.hub()).published == 2).await;
    }
    for (member, has_key) in members.iter_mut().zip([true, true, false]) {
        assert_eq!(member.client.get::<u32>().await, 9);
        let counted = || {
            let health = health(member.hub());
            assert_eq!((health.received, health.garbage), (0, 0));
            (health.unauthenticated, health.unknown_version)
        };
        let are_counted = || match counted() {
            (unauthenticated, 0) if has_key => unauthenticated >= 4,
            (0, unknown_version) if !has_key => unknown_version >= 4,
            counted => panic!("{counted:?}"),
        };
        eventually("the envelopes of the other nodes are counted", are_counted).await;
        assert_eq!(member.hub().cluster().nodes().len(), 1);
    }
}

#[tokio::test]
async fn key_rotation_in_steps_loses_no_message() {
    let steps: [&[&[u8]]; 4] = [&[KEY], &[KEY, ANOTHER], &[ANOTHER, KEY], &[ANOTHER]];
    for pair in steps.windows(2) {
        let bus = Local::new();
        let node = |keys: &[&[u8]]| builder(bus.clone()).backplane_keys(keys).build().unwrap();
        let (before, after) = (node(pair[0]), node(pair[1]));
        let (mut before, mut after) = (Member::of(before).await, Member::of(after).await);
        know_each_other(&[before.hub(), after.hub()]).await;
        before.hub().try_broadcast(&1).unwrap();
        assert_eq!(after.client.get::<u32>().await, 1);
        assert_eq!(before.client.get::<u32>().await, 1);
        after.hub().try_broadcast(&2).unwrap();
        assert_eq!(before.client.get::<u32>().await, 2);
        for member in [&before, &after] {
            assert_eq!(health(member.hub()).unauthenticated, 0);
        }
    }
}

#[tokio::test]
async fn replay_is_dropped_by_a_node_that_heard_the_original_even_after_its_sender_left() {
    let bus = Tapped::default();
    let sender = keyed(bus.clone());
    let mut member = Member::of(keyed(bus.bus.clone())).await;
    know_each_other(&[&sender, member.hub()]).await;
    for message in 0..3 {
        sender.try_broadcast(&message).unwrap();
        assert_eq!(member.client.get::<u32>().await, message);
    }
    let recorded = bus.sent(0);
    assert_eq!(recorded.len(), 3);
    for payload in &recorded {
        publish(&bus.bus, payload.clone()).await;
    }
    sender.try_broadcast(&3).unwrap();
    assert_eq!(member.client.get::<u32>().await, 3);
    let node = bytes_of(sender.node_id());
    drop(sender);
    eventually("the departed node is forgotten", || member.hub().cluster().nodes().len() == 1)
        .await;
    for payload in &recorded {
        publish(&bus.bus, payload.clone()).await;
    }
    // An earlier epoch of the same node. Only a holder of the key can sign it, because a node has one epoch.
    publish(&bus.bus, signed(KEY, COMMON, message(node, 1, "42"))).await;
    let duplicates = || health(member.hub()).duplicates;
    eventually("each is counted", || duplicates() == 3 + 3 + 1).await;
    member.hub().try_broadcast(&4).unwrap();
    assert_eq!(member.client.get::<u32>().await, 4);
    assert_eq!(health(member.hub()).unauthenticated, 0);
}

#[tokio::test]
async fn replay_is_accepted_once_by_a_new_node_until_it_hears_the_sender() {
    let bus = Tapped::default();
    let sender = keyed(bus.clone());
    know_each_other(&[&sender]).await;
    (0..2).for_each(|message| sender.try_broadcast(&message).unwrap());
    eventually("they are published", || health(&sender).published == 2).await;
    let recorded = bus.sent(0);
    let mut there = Member::of(keyed(bus.bus.clone())).await;
    know_each_other(&[&sender, there.hub()]).await;
    drop(sender);
    let mut later = Member::of(keyed(bus.bus.clone())).await;
    eventually("it is up", || is_up(later.hub())).await;
    for payload in recorded.iter().chain(&recorded) {
        publish(&bus.bus, payload.clone()).await;
    }
    for member in [&mut there, &mut later] {
        member.hub().try_broadcast(&9).unwrap();
    }
    let mut got = later.client.get_many::<u32>(4).await;
    got.sort_unstable();
    assert_eq!(got, [0, 1, 9, 9], "each recorded message once, and the two new messages");
    assert_eq!(there.client.get_many::<u32>(2).await, [9, 9], "it has heard later messages");
    assert_eq!(health(there.hub()).duplicates, 4);
    assert_eq!(health(later.hub()).duplicates, 2);
}

#[tokio::test(start_paused = true)]
async fn replayed_heartbeat_shows_a_departed_node_for_fifteen_seconds() {
    let bus = Tapped::default();
    let sender = keyed(bus.clone());
    let hub = keyed(bus.bus.clone());
    know_each_other(&[&sender, &hub]).await;
    let recorded = bus.sent(1);
    drop(sender);
    eventually("the departed node is forgotten", || hub.cluster().nodes().len() == 1).await;
    publish(&bus.bus, recorded[0].clone()).await;
    eventually("the replayed heartbeat is accepted", || hub.cluster().nodes().len() == 2).await;
    tokio::time::advance(Duration::from_secs(15)).await;
    assert_eq!(hub.cluster().nodes().len(), 1);
}

#[tokio::test]
async fn stranger_cannot_make_a_dead_subscription_look_alive() {
    let bus = Faulty::new();
    let hub = keyed(bus.clone());
    eventually("it is up", || is_up(&hub)).await;
    bus.set(|faults| &faults.swallows, true);
    let echo = message(bytes_of(hub.node_id()), 1, "42");
    let is_noticed = || matches!(hub.backplane_err(), Some(BackplaneError::SubscriptionLost(_)));
    tokio::select! {
        () = eventually("the missing heartbeat is noticed", is_noticed) => {}
        () = async { loop {
            publish(&bus.sound(), echo.clone()).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        } } => {}
    }
    assert!(health(&hub).unauthenticated > 0);
}

#[tokio::test]
async fn keys_that_are_too_short_or_too_many_are_refused_and_shown_nowhere() {
    let refused = |builder: Builder<u32>| match builder.build() {
        Err(error @ BuildError::OutOfRange { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let short = || builder(Local::new()).backplane_key(&KEY[..15]);
    assert!(!format!("{:?}", short()).contains("sixteen"));
    assert_eq!(refused(short()), "backplane_key is 15 bytes, out of 16 and more");
    let keys = |count| builder(Local::new()).backplane_keys(vec![KEY; count]);
    assert_eq!(refused(keys(0)), "backplane_keys is 0 keys, out of 1 to 8");
    assert_eq!(refused(keys(9)), "backplane_keys is 9 keys, out of 1 to 8");
    assert_eq!(
        refused(builder(Local::new()).backplane_keys([KEY, b"short"])),
        "backplane_key is 5 bytes, out of 16 and more"
    );
    let hub = keys(8).build().unwrap();
    let shown = format!("{:?} {hub:?} {:?}", keys(1), hub.backplane_health());
    assert!(!shown.contains("sixteen") && !shown.contains(&format!("{KEY:?}")), "{shown}");
}
