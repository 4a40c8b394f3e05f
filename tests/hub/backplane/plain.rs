//! The plain channel: other programs publish JSON there, and the members on all nodes receive it.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use roomcast::{
    Backplane, BackplaneError, BackplaneHealth, BuildError, Builder, Codec, DecodeError,
    EncodeError, FrameKind, Hub, Inbound, Json, Local, LocalPublisher, LocalSubscriber, Parcel,
    Publisher, Raw, RawMessage, Unpublished,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use support::claims::{Member, is_up};
use support::{Recorded, eventually};

pub(super) const CHANNEL: &str = "chat:in";

/// The subscriptions of a node with one channel for all rooms: this channel, and the plain channel.
const SUBSCRIPTIONS: usize = 2;

/// Called with each payload that hubs and programs publish.
pub(super) type Bus = Tapped;

/// A bus that records the channels on which nodes publish.
#[derive(Clone, Default)]
pub(super) struct Tapped {
    pub(super) bus: Local,
    used: Arc<Mutex<Vec<Arc<str>>>>,
}

impl Backplane for Tapped {
    type Publisher = TappedPublisher;
    type Subscriber = LocalSubscriber;

    async fn connect_publisher(&self) -> Result<TappedPublisher, BackplaneError> {
        Ok(TappedPublisher { half: self.bus.connect_publisher().await?, used: self.used.clone() })
    }

    async fn connect_subscriber(
        &self,
        inbound: Inbound,
    ) -> Result<LocalSubscriber, BackplaneError> {
        self.bus.connect_subscriber(inbound).await
    }
}

pub(super) struct TappedPublisher {
    half: LocalPublisher,
    used: Arc<Mutex<Vec<Arc<str>>>>,
}

impl Publisher for TappedPublisher {
    async fn publish(&mut self, parcels: &mut Vec<Parcel>) -> Result<(), Unpublished> {
        self.used.lock().unwrap().extend(parcels.iter().map(|parcel| parcel.channel.clone()));
        self.half.publish(parcels).await
    }
}

/// Publishes payloads as another program does, all at once.
pub(super) async fn publish_all<P: Into<Bytes>>(
    bus: &Local,
    payloads: impl IntoIterator<Item = P>,
) {
    let parcel = |payload: P| Parcel { channel: CHANNEL.into(), payload: payload.into() };
    let mut parcels: Vec<Parcel> = payloads.into_iter().map(parcel).collect();
    let mut publisher = bus.connect_publisher().await.unwrap();
    publisher.publish(&mut parcels).await.unwrap();
}

pub(super) async fn publish(bus: &Local, payload: impl Into<Bytes>) {
    publish_all(bus, [payload]).await;
}

pub(super) fn builder<B: Backplane>(bus: B) -> Builder<u32> {
    Hub::builder().shards(2).backplane(bus, "test").plain_channel(CHANNEL)
}

pub(super) fn health<T: Send + 'static>(hub: &Hub<T>) -> BackplaneHealth {
    hub.backplane_health().unwrap()
}

async fn listens<T: Send + 'static>(hub: &Hub<T>) {
    let listens = || is_up(hub) && health(hub).subscriptions >= SUBSCRIPTIONS;
    eventually("it listens", listens).await;
}

pub(super) async fn member(builder: Builder<u32>) -> Member {
    let member = Member::of(builder.build().unwrap()).await;
    listens(member.hub()).await;
    member
}

/// The counters of a node for the plain channel: received, too large, malformed, undecodable, overrun.
fn counted<T: Send + 'static>(hub: &Hub<T>) -> [u64; 5] {
    let health = health(hub);
    let rejected = [
        health.plain_too_large,
        health.plain_malformed,
        health.plain_undecodable,
        health.plain_overrun,
    ];
    assert_eq!(
        health.plain_rejected(),
        rejected.iter().sum::<u64>() + health.plain_unauthenticated
    );
    let [large, malformed, undecodable, overrun] = rejected;
    [health.plain_received, large, malformed, undecodable, overrun]
}

/// Asserts that no fault between the nodes was counted.
pub(super) fn assert_unharmed(member: &Member) {
    let hub = member.hub();
    let health = health(hub);
    assert_eq!((health.lost, health.duplicates, health.overrun), (0, 0, 0));
    assert_eq!((health.garbage, health.unknown_version, health.reconnects), (0, 0, 0));
    assert_eq!(hub.stats().disconnected, 0);
    assert!(is_up(hub), "{health:?}");
}

#[tokio::test]
async fn each_target_reaches_the_members_of_all_nodes_once() {
    for channels in [1, 8] {
        let bus = Bus::default();
        let mut nodes = Vec::new();
        for rooms in [&["a", "b"][..], &["b"], &[]] {
            let node = member(builder(bus.clone()).channels(channels)).await;
            for room in rooms {
                node.conn.try_join(room).unwrap();
            }
            nodes.push(node);
        }
        let expected = [
            (1, r#"{"room":"a","message":1}"#, [true, false, false]),
            (2, r#"{"message":2,"room":"b"}"#, [true, true, false]),
            (3, r#"{"rooms":["a","b","b","nobody's"],"message":3}"#, [true, true, false]),
            (4, r#"{"message":4,"everyone":true}"#, [true, true, true]),
            (5, r#"{"message":5,"room":"nobody's"}"#, [false, false, false]),
            (6, r#"{"message":6,"everyone":true}"#, [true, true, true]),
        ];
        for (_, payload, _) in expected {
            publish(&bus.bus, payload).await;
        }
        for (at, node) in nodes.iter_mut().enumerate() {
            let got = expected.iter().filter(|(.., reached)| reached[at]).map(|(got, ..)| *got);
            let got: Vec<u32> = got.collect();
            assert_eq!(node.client.get_many::<u32>(got.len()).await, got, "in this order");
            assert_eq!(counted(node.hub()), [6, 0, 0, 0, 0]);
            assert_eq!((health(node.hub()).received, health(node.hub()).published), (0, 0));
            assert_unharmed(node);
        }
    }
}

#[tokio::test]
async fn nodes_never_publish_on_the_plain_channel_and_still_hear_each_other() {
    let bus = Bus::default();
    let mut nodes =
        [member(builder(bus.clone())).await, member(builder(bus.clone()).channels(1)).await];
    for node in &nodes {
        eventually("they know each other", || node.hub().cluster().nodes().len() == 2).await;
    }
    publish(&bus.bus, r#"{"message":1,"everyone":true}"#).await;
    for node in &mut nodes {
        assert_eq!(node.client.get::<u32>().await, 1);
    }
    nodes[0].hub().try_broadcast(&2).unwrap();
    for node in &mut nodes {
        assert_eq!(node.client.get::<u32>().await, 2);
    }
    let used = bus.used.lock().unwrap();
    assert!(!used.is_empty() && used.iter().all(|channel| &**channel != CHANNEL), "{used:?}");
}

#[tokio::test(start_paused = true)]
async fn a_channel_without_heartbeats_is_not_taken_for_dead() {
    let node = member(builder(Local::new())).await;
    // Long enough for about twenty heartbeats and probes.
    for _ in 0..100 {
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    assert!(health(node.hub()).probe_round_trip.is_some());
    assert_unharmed(&node);
}

#[tokio::test]
async fn hub_without_the_setting_does_not_subscribe_to_the_plain_channel() {
    let bus = Local::new();
    let mut node = member(builder(bus.clone())).await;
    let deaf = Hub::<u32>::builder().backplane(bus.clone(), "test").build().unwrap();
    let mut deaf = Member::of(deaf).await;
    eventually("it is up", || is_up(deaf.hub())).await;
    publish(&bus, r#"{"message":1,"everyone":true}"#).await;
    assert_eq!(node.client.get::<u32>().await, 1);
    deaf.hub().try_broadcast(&2).unwrap();
    assert_eq!(deaf.client.get::<u32>().await, 2);
    assert_eq!((counted(deaf.hub()), health(deaf.hub()).subscriptions), ([0; 5], 1));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Said {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
}

#[tokio::test]
async fn clients_get_what_the_hub_itself_would_send() {
    let bus = Local::new();
    let hub: Hub<Said> =
        Hub::builder().backplane(bus.clone(), "test").plain_channel(CHANNEL).build().unwrap();
    let mut node = Recorded::serve(hub).await;
    let (mut client, _) = node.connect().await;
    listens(&node.hub).await;
    for message in [r#"{"text":1}"#, "{}", "null", r#""text""#, r#"[{"text":"t"}]"#] {
        publish(&bus, format!(r#"{{"everyone":true,"message":{message}}}"#)).await;
    }
    let written = r#"{ "admin" : true , "text" : "\u00e9\/" , "user" : null }"#;
    publish(&bus, format!(r#"{{"everyone":true,"message":{written}}}"#)).await;
    assert_eq!(client.next_text().await, r#"{"text":"é/"}"#);
    assert_eq!(counted(&node.hub), [1, 0, 0, 5, 0]);
}

#[tokio::test]
async fn a_hub_of_raw_messages_sends_the_text_of_the_message() {
    let bus = Local::new();
    let hub: Hub<RawMessage> =
        Hub::with_codec(Raw).backplane(bus.clone(), "test").plain_channel(CHANNEL).build().unwrap();
    let mut node = Recorded::serve(hub).await;
    let (mut client, _) = node.connect().await;
    listens(&node.hub).await;
    publish(&bus, r#"{"everyone":true,"message": {"a": [1, 2]} }"#).await;
    assert_eq!(client.next_text().await, r#"{"a": [1, 2]}"#);
}

#[tokio::test]
async fn malformed_payload_reaches_nobody_and_is_counted() {
    let bus = Local::new();
    let mut node = member(builder(bus.clone()).max_room_name_bytes(4)).await;
    node.conn.try_join("tea").unwrap();
    let deep = format!(r#"{{"everyone":true,"message":{}}}"#, "[".repeat(10_000));
    let rooms = format!(r#"{{"rooms":[{}"tea"],"message":1}}"#, r#""tea","#.repeat(256));
    let malformed: [&[u8]; 12] = [
        b"",
        b"garbage",
        b"RCE\x02\x00",
        b"{\"message\":\"\xff\",\"room\":\"tea\"}",
        br#"{"room":"tea"}"#,
        br#"{"message":1}"#,
        br#"{"message":1,"room":"tea","rooms":["tea"]}"#,
        br#"{"message":1,"room":"tea","excpet":1}"#,
        br#"{"message":1,"everyone":false}"#,
        br#"{"message":1,"room":"lobby"}"#,
        deep.as_bytes(),
        rooms.as_bytes(),
    ];
    publish_all(&bus, malformed.map(<[u8]>::to_vec)).await;
    for message in ["-1", "4294967296", "1.5", "\"1\"", "[]"] {
        publish(&bus, format!(r#"{{"room":"tea","message":{message}}}"#)).await;
    }
    publish(&bus, r#"{"room":"tea","message":7}"#).await;
    assert_eq!(node.client.get::<u32>().await, 7);
    assert_eq!(counted(node.hub()), [1, 0, 12, 5, 0]);
    assert_unharmed(&node);
}

#[tokio::test]
async fn payload_passes_at_the_length_limit_and_is_rejected_past_it() {
    let bus = Local::new();
    let of_bytes = |bytes: usize| {
        let spaces = " ".repeat(bytes - 29);
        format!(r#"{{"everyone":true,"message":{spaces}7}}"#)
    };
    assert_eq!(of_bytes(1_000).len(), 1_000);
    for (node, bytes_max) in
        [(builder(bus.clone()), 65_536), (builder(bus.clone()).max_plain_bytes(100), 100)]
    {
        let mut node = member(node).await;
        publish_all(&bus, [bytes_max + 1, 1 << 20, bytes_max].map(of_bytes)).await;
        assert_eq!(node.client.get::<u32>().await, 7);
        assert_eq!(counted(node.hub()), [1, 2, 0, 0, 0]);
        assert_unharmed(&node);
    }
}

#[tokio::test]
async fn payload_without_queue_space_is_dropped_and_counted_and_nodes_are_unaffected() {
    let bus = Local::new();
    let node = |bus: &Local| builder(bus.clone()).send_buffer(65_536);
    let (mut node, other) = (member(node(&bus)).await, member(node(&bus)).await);
    eventually("they know each other", || node.hub().cluster().nodes().len() == 2).await;
    // The runtime has one thread, so no task empties the queue meanwhile.
    let payloads = (0..10_000).map(|n| format!(r#"{{"everyone":true,"message":{n}}}"#));
    publish_all(&bus, payloads).await;
    assert_eq!(counted(node.hub()), [0, 0, 0, 0, 10_000 - 8_192]);
    other.hub().try_broadcast(&u32::MAX).unwrap();
    let mut got: Vec<u32> = node.client.get_many(8_192 + 1).await;
    got.retain(|&message| message != u32::MAX);
    assert!(got.into_iter().eq(0..8_192));
    assert_unharmed(&node);
}

/// A faulty codec of an application.
struct Faulty;

impl Codec<u32> for Faulty {
    fn encode(&self, message: &u32, out: &mut Vec<u8>) -> Result<FrameKind, EncodeError> {
        assert_ne!(*message, 13, "as it was told to");
        if *message == 12 {
            return Err(EncodeError::new("as it was told to"));
        }
        Json::new().encode(message, out)
    }

    fn accepts(&self, kind: FrameKind) -> bool {
        kind == FrameKind::Text
    }

    fn decode(&self, kind: FrameKind, payload: &mut [u8]) -> Result<u32, DecodeError> {
        Json::new().decode(kind, payload)
    }
}

#[tokio::test]
async fn codec_that_fails_or_panics_loses_that_message_alone() {
    let bus = Local::new();
    let hub = Hub::with_codec(Faulty).backplane(bus.clone(), "test").plain_channel(CHANNEL);
    let mut node = Member::of(hub.build().unwrap()).await;
    listens(node.hub()).await;
    for message in [12, 13, 15] {
        publish(&bus, format!(r#"{{"everyone":true,"message":{message}}}"#)).await;
    }
    assert_eq!(node.client.get::<u32>().await, 15);
    assert_eq!(counted(node.hub()), [1, 0, 0, 2, 0]);
    assert_unharmed(&node);
}

/// A binary codec, which refuses text.
struct Binary;

impl Codec<u32> for Binary {
    fn encode(&self, message: &u32, out: &mut Vec<u8>) -> Result<FrameKind, EncodeError> {
        out.extend(message.to_le_bytes());
        Ok(FrameKind::Binary)
    }

    fn accepts(&self, kind: FrameKind) -> bool {
        kind == FrameKind::Binary
    }

    fn decode(&self, _: FrameKind, payload: &mut [u8]) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes((&*payload).try_into().map_err(DecodeError::new)?))
    }
}

#[tokio::test]
async fn a_hub_with_a_binary_codec_reads_json_and_sends_what_its_codec_makes_of_it() {
    let bus = Local::new();
    let hub = Hub::with_codec(Binary).backplane(bus.clone(), "test").plain_channel(CHANNEL);
    let mut node = Recorded::serve(hub.build().unwrap()).await;
    let (mut client, _) = node.connect().await;
    listens(&node.hub).await;
    publish(&bus, r#"{"everyone":true,"message":7}"#).await;
    assert_eq!(client.next_data().await.into_data(), &7_u32.to_le_bytes()[..]);
}

/// A message that counts how often it is decoded and encoded.
struct Counted(u32);

static DECODED: AtomicU32 = AtomicU32::new(0);
static ENCODED: AtomicU32 = AtomicU32::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Relaxed);
        u32::deserialize(deserializer).map(Self)
    }
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, Relaxed);
        self.0.serialize(serializer)
    }
}

#[tokio::test]
async fn a_node_decodes_and_encodes_a_message_once_for_all_its_members() {
    let bus = Local::new();
    let hub = Hub::<Counted>::builder().shards(2).backplane(bus.clone(), "test");
    let mut node = Recorded::serve(hub.plain_channel(CHANNEL).build().unwrap()).await;
    let mut members = Vec::new();
    for _ in 0..10 {
        members.push(node.connect().await);
    }
    listens(&node.hub).await;
    publish(&bus, r#"{"everyone":true,"message":7}"#).await;
    for (client, _) in &mut members {
        assert_eq!(client.get::<u32>().await, 7);
    }
    assert_eq!((DECODED.load(Relaxed), ENCODED.load(Relaxed)), (1, 1));
}

#[tokio::test]
async fn invalid_channel_fails_the_build_with_the_reason() {
    let refused = |result: Result<Hub<u32>, BuildError>| match result {
        Err(error @ BuildError::PlainChannel { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let named = |name: &str| Hub::builder().backplane(Local::new(), "test").plain_channel(name);
    assert_eq!(
        refused(Hub::builder().plain_channel("in").build()),
        "the plain channel \"in\" cannot work: the hub has no backplane"
    );
    assert_eq!(refused(named("").build()), "the plain channel \"\" cannot work: it is empty");
    assert_eq!(
        refused(named("a\0b").build()),
        "the plain channel \"a\\0b\" cannot work: it has a NUL in it"
    );
    for name in ["roomcast:", "roomcast:test:all", "roomcast:other:0"] {
        assert_eq!(
            refused(named(name).build()),
            format!(
                "the plain channel {name:?} cannot work: channels of nodes begin with \"roomcast:\""
            )
        );
    }
    for name in ["roomcast", "all", "Roomcast:in", "{in}"] {
        named(name).build().unwrap();
    }
    for bytes in [0, (16 << 20) + 1] {
        let error = named("in").max_plain_bytes(bytes).build().unwrap_err().to_string();
        assert_eq!(error, format!("max_plain_bytes is {bytes}, out of 1 to 16,777,216"));
    }
    named("in").max_plain_bytes(16 << 20).build().unwrap();
}
