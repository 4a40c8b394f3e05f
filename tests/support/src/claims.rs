//! The guarantees of a hub on every backplane: a suite of tests, which the macro [`claims`] creates for one backplane.

use bytes::Bytes;
use roomcast::{
    Backplane, BackplaneState, Close, CloseCode, Conn, DisconnectReason, Hub, Raw, RawMessage,
    Target,
};

use crate::{Client, Recorded, eventually, within};

/// A node with one client.
pub struct Member {
    pub node: Recorded<u32>,
    pub client: Client,
    pub conn: Conn<u32>,
}

impl Member {
    pub async fn of(hub: Hub<u32>) -> Self {
        let mut node = Recorded::serve(hub).await;
        let (client, conn) = node.connect().await;
        Self { node, client, conn }
    }

    pub fn hub(&self) -> &Hub<u32> {
        &self.node.hub
    }

    /// The messages that the client gets before `end`, which the test sends last.
    pub async fn until(&mut self, end: u32) -> Vec<u32> {
        let mut got = Vec::new();
        loop {
            match self.client.get().await {
                message if message == end => return got,
                message => got.push(message),
            }
        }
    }
}

pub fn is_up<T: Send + 'static>(hub: &Hub<T>) -> bool {
    hub.backplane_health().is_some_and(|health| health.state == BackplaneState::Up)
}

/// Nodes that have heard each other's heartbeats.
pub async fn nodes<B: Backplane + Clone>(bus: &B, count: usize, channels: u16) -> Vec<Member> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        // A client of this test may be slow only because the machine is busy.
        let hub = Hub::builder().shards(2).send_buffer(65_536).send_buffer_bytes(64 << 20);
        let hub = hub.backplane(bus.clone(), "test").channels(channels).build().unwrap();
        nodes.push(Member::of(hub).await);
    }
    for node in &nodes {
        eventually("the backplane is up", || is_up(node.hub())).await;
        let knows_all = || node.hub().cluster().nodes().len() == count;
        eventually("the nodes know each other", knows_all).await;
    }
    nodes
}

const END: u32 = u32::MAX;

pub async fn every_target_reaches_the_members_of_all_nodes<B: Backplane + Clone>(bus: B) {
    for channels in [1, 8] {
        let mut nodes = nodes(&bus, 3, channels).await;
        for (member, rooms) in nodes.iter().zip([&["a", "b"][..], &["b"], &["a"]]) {
            for room in rooms {
                member.conn.join_subscribed(room).await.unwrap();
            }
        }
        let hub = nodes[0].hub();
        // The order among several channels is undefined, so the test awaits each message.
        let expected = [
            (1, Target::everyone(), [true, true, true]),
            (2, Target::room("a"), [true, false, true]),
            (3, Target::rooms(["a", "b"]), [true, true, true]),
            (4, Target::rooms(["b", "b", "nobody's"]), [true, true, false]),
            (5, Target::conn(nodes[1].conn.id()), [false, true, false]),
            (6, Target::conn(nodes[0].conn.id()), [true, false, false]),
            (7, Target::room("nobody's"), [false, false, false]),
        ];
        for (message, target, _) in &expected {
            hub.try_publish(target, message).unwrap();
        }
        for (at, member) in nodes.iter_mut().enumerate() {
            let count = expected.iter().filter(|(.., reached)| reached[at]).count();
            let mut got: Vec<u32> = member.client.get_many(count).await;
            got.sort_unstable();
            let reached = expected.iter().filter(|(.., reached)| reached[at]);
            assert!(got.iter().eq(reached.map(|(message, ..)| message)), "{got:?} at node {at}");
        }
    }
}

pub async fn excepted_connections_of_all_nodes_are_passed_by<B: Backplane + Clone>(bus: B) {
    let mut nodes = nodes(&bus, 3, 1).await;
    let ids: Vec<_> = nodes.iter().map(|member| member.conn.id()).collect();
    let hub = nodes[0].hub().clone();
    hub.try_publish(&Target::everyone().except(ids[1]), &1).unwrap();
    hub.try_publish(&Target::everyone().except_all([ids[0], ids[2]]), &2).unwrap();
    hub.try_publish(&Target::everyone().except(ids[0]), &3).unwrap();
    hub.try_broadcast(&END).unwrap();
    assert_eq!(nodes[0].until(END).await, [1]);
    assert_eq!(nodes[1].until(END).await, [2, 3]);
    assert_eq!(nodes[2].until(END).await, [1, 3]);
}

pub async fn actions_reach_the_connections_of_all_nodes<B: Backplane + Clone>(bus: B) {
    for channels in [1, 8] {
        let mut nodes = nodes(&bus, 3, channels).await;
        for (member, rooms) in nodes.iter().zip([&["a", "b"][..], &["b"], &["a"]]) {
            for room in rooms {
                member.conn.join_subscribed(room).await.unwrap();
            }
        }
        let ids: Vec<_> = nodes.iter().map(|member| member.conn.id()).collect();
        let hub = nodes[0].hub().clone();
        for (number, (target, meant)) in [
            (Target::everyone(), [1, 1, 1]),
            (Target::everyone().except_all([ids[0], ids[1]]), [0, 0, 1]),
            (Target::room("a"), [1, 0, 1]),
            (Target::room("b").except(ids[0]), [0, 1, 0]),
            (Target::rooms(["a", "b"]), [1, 1, 1]),
            (Target::conn(ids[1]), [0, 1, 0]),
            (Target::conn(ids[0]), [1, 0, 0]),
            (Target::room("nobody's"), [0, 0, 0]),
        ]
        .into_iter()
        .enumerate()
        {
            let room = format!("room {number}");
            let counts = || [0, 1, 2].map(|at| nodes[at].hub().member_count(&room));
            hub.try_join(&target, &room).unwrap();
            eventually("the connections of the target have entered", || counts() == meant).await;
            hub.try_leave(&target, &room).unwrap();
            eventually("they have left", || counts() == [0, 0, 0]).await;
        }
        let close = Close::new(CloseCode::from(4_001), "logged out");
        hub.try_close(&Target::room("a").except(ids[0]), close.clone()).unwrap();
        assert_eq!(nodes[2].client.closed().await, (4_001, "logged out".to_owned()));
        let (_, reason) = nodes[2].node.events.ended().await;
        assert_eq!(reason, DisconnectReason::ClosedByServer(close));
        hub.try_close(&Target::conn(ids[1]), CloseCode::NORMAL).unwrap();
        assert_eq!(nodes[1].client.closed().await, (1_000, String::new()));
        hub.try_broadcast(&END).unwrap();
        assert_eq!(nodes[0].until(END).await, [0; 0], "it is open");
    }
}

pub async fn actions_keep_their_place_among_messages<B: Backplane + Clone>(bus: B) {
    let mut nodes = nodes(&bus, 2, 1).await;
    let hub = nodes[0].hub().clone();
    let there = Target::conn(nodes[1].conn.id());
    for round in 0..100 {
        let room = format!("room {}", round % 3);
        hub.try_to_room(&room, &0).unwrap();
        hub.try_join(&there, &room).unwrap();
        hub.try_to_room(&room, &round).unwrap();
        hub.try_leave(&there, &room).unwrap();
        hub.try_to_room(&room, &0).unwrap();
    }
    hub.try_broadcast(&100).unwrap();
    hub.try_close(&Target::everyone().except(nodes[0].conn.id()), CloseCode::NORMAL).unwrap();
    hub.try_broadcast(&101).unwrap();
    hub.try_broadcast(&END).unwrap();
    let got = nodes[1].client.get_many::<u32>(101).await;
    assert!(got.into_iter().eq(0..=100));
    assert_eq!(nodes[1].client.closed().await.0, 1_000);
    assert_eq!(nodes[0].until(END).await, [100, 101]);
    let health = || nodes[1].hub().backplane_health().unwrap();
    eventually("all are counted as messages", || health().received == 504).await;
    assert_eq!((health().lost, health().garbage), (0, 0));
    let published = || hub.backplane_health().unwrap().published;
    eventually("all are acknowledged", || published() == 504).await;
    assert!(nodes[1].hub().rooms().await.is_empty());
}

pub async fn an_id_that_was_written_down_still_reaches_its_connection<B>(bus: B)
where
    B: Backplane + Clone,
{
    let mut nodes = nodes(&bus, 2, 1).await;
    let written = nodes[1].conn.id().to_string();
    nodes[0].hub().try_publish(&Target::conn(written.parse().unwrap()), &1).unwrap();
    assert_eq!(nodes[1].client.get::<u32>().await, 1);
    assert_eq!(nodes[1].conn.id().node(), nodes[1].hub().node_id());
}

pub async fn messages_of_a_publisher_arrive_complete_in_order_and_once<B>(bus: B)
where
    B: Backplane + Clone,
{
    const COUNT: u32 = 20_000;
    let mut nodes = nodes(&bus, 2, 8).await;
    nodes[1].conn.join_subscribed("r").await.unwrap();
    let hub = nodes[0].hub().clone();
    for message in 0..COUNT {
        hub.to_room("r", &message).await.unwrap();
    }
    hub.to_room("r", &END).await.unwrap();
    assert!(nodes[1].until(END).await.into_iter().eq(0..COUNT));
    let sender = hub.backplane_health().unwrap();
    let receiver = nodes[1].hub().backplane_health().unwrap();
    assert_eq!((receiver.received, receiver.lost), (u64::from(COUNT) + 1, 0));
    assert_eq!(sender.dropped, 0);
    assert!(sender.envelopes < u64::from(COUNT), "messages share envelopes: {sender:?}");
}

pub async fn after_an_awaited_join_nothing_is_missed<B: Backplane + Clone>(bus: B) {
    let mut nodes = nodes(&bus, 2, 64).await;
    let hub = nodes[0].hub().clone();
    for number in 0..200 {
        let room = format!("room {number}");
        nodes[1].conn.join_subscribed(&room).await.unwrap();
        hub.try_to_room(&room, &number).unwrap();
        assert_eq!(nodes[1].client.get::<u32>().await, number);
        nodes[1].conn.try_leave(&room).unwrap();
    }
    let subscriptions = || nodes[1].hub().backplane_health().unwrap().subscriptions;
    eventually("unneeded channels are unsubscribed", || subscriptions() == 1).await;
}

pub async fn kinds_and_sizes_of_payloads_are_kept<B: Backplane + Clone>(bus: B) {
    let build = || {
        let builder = Hub::with_codec(Raw).backplane(bus.clone(), "test");
        builder.send_buffer(1_000).send_buffer_bytes(64 << 20).build().unwrap()
    };
    let here: Hub<RawMessage> = build();
    let mut there = Recorded::serve(build()).await;
    let (mut client, _) = there.connect().await;
    eventually("both are up", || is_up(&here) && is_up(&there.hub)).await;
    eventually("they know each other", || here.cluster().connections() == 1).await;
    let sizes = [0, 1, 125, 126, 65_535, 65_536, 1 << 20];
    for size in sizes {
        here.try_broadcast(&RawMessage::Text("é".repeat(size / 2))).unwrap();
        here.try_broadcast(&RawMessage::Binary(Bytes::from(vec![0xFF; size]))).unwrap();
    }
    for size in sizes {
        let text = client.next_data().await;
        assert_eq!(text.into_text().unwrap().as_str(), "é".repeat(size / 2));
        let binary = client.next_data().await;
        assert!(binary.is_binary() && binary.into_data() == vec![0xFF; size]);
    }
}

pub async fn nodes_know_what_the_others_have<B: Backplane + Clone>(bus: B) {
    let mut nodes = nodes(&bus, 2, 8).await;
    nodes[0].conn.try_join("r").unwrap();
    nodes[1].conn.try_join("r").unwrap();
    let asked = nodes[0].hub().clone();
    // The next heartbeat is at most five seconds away.
    eventually("the member of the other node is counted", || {
        asked.cluster().members("r").members == 2
    })
    .await;
    let cluster = asked.cluster();
    assert_eq!(cluster.connections(), 2);
    assert_eq!(cluster.nodes()[0].id, asked.node_id());
    assert_eq!(cluster.nodes()[1].id, nodes[1].hub().node_id());
    assert_eq!(cluster.members("nobody's").members, 0);
    assert!(cluster.members("r").is_exact);
    let gone = nodes.pop().unwrap();
    drop(gone);
    eventually("a departed node is forgotten", || asked.cluster().nodes().len() == 1).await;
}

pub async fn a_hub_that_goes_publishes_what_it_has<B: Backplane + Clone>(bus: B) {
    let mut nodes = nodes(&bus, 2, 1).await;
    let Member { node, client, conn } = nodes.remove(0);
    for message in 0..1_000 {
        node.hub.broadcast(&message).await.unwrap();
    }
    node.hub.broadcast(&END).await.unwrap();
    drop((node, client, conn));
    assert!(nodes[0].until(END).await.into_iter().eq(0..1_000));
}

pub async fn nodes_on_other_channels_hear_nothing<B: Backplane + Clone>(bus: B) {
    let mut nodes = nodes(&bus, 2, 1).await;
    let stranger: Hub<u32> = Hub::builder().backplane(bus, "other").build().unwrap();
    eventually("the stranger is up", || is_up(&stranger)).await;
    stranger.try_broadcast(&1).unwrap();
    eventually("it has published", || stranger.backplane_health().unwrap().published == 1).await;
    nodes[0].hub().try_broadcast(&END).unwrap();
    assert_eq!(within("the end", nodes[1].until(END)).await, [0; 0]);
}

/// No name gives a hub the channel of another hub, neither its common channel nor the channel of a room.
pub async fn hubs_whose_names_resemble_each_other_stay_apart<B: Backplane + Clone>(bus: B) {
    let spread = tenant(&bus, "chat", 8).await;
    let names = ["chat:0", "chat:1", "chat:2", "chat:all", "roomcast:chat", "chat%3A2", "", ":"];
    let mut others = Vec::new();
    for name in names {
        others.push(tenant(&bus, name, 2).await);
    }
    let rooms: Vec<String> = (0..100).map(|room| room.to_string()).collect();
    for room in &rooms {
        for other in &others {
            other.conn.join_subscribed(room).await.unwrap();
        }
        spread.hub().try_to_room(room, &0).unwrap();
    }
    spread.hub().try_broadcast(&1).unwrap();
    spread.hub().try_publish(&Target::rooms(rooms), &2).unwrap();
    let sent = || spread.hub().backplane_health().unwrap().published == 102;
    eventually("all of it has left", sent).await;
    for other in &mut others {
        other.hub().try_broadcast(&END).unwrap();
        assert!(other.until(END).await.is_empty());
        assert_eq!(other.hub().cluster().nodes().len(), 1);
        let health = other.hub().backplane_health().unwrap();
        assert_eq!((health.subscriptions, health.received), (3, 0), "{health:?}");
        assert_eq!((health.garbage, health.unknown_version), (0, 0), "{health:?}");
    }
}

/// A node of an application with this name.
async fn tenant<B: Backplane + Clone>(bus: &B, name: &str, channels: u16) -> Member {
    let hub = Hub::builder().backplane(bus.clone(), name).channels(channels).build().unwrap();
    let member = Member::of(hub).await;
    eventually("it is up", || is_up(member.hub())).await;
    member
}

/// Defines the suite for one backplane. `$bus` creates a new backplane for each test.
#[macro_export]
macro_rules! claims {
    ($bus:expr) => {
        $crate::claims! { $bus =>
            every_target_reaches_the_members_of_all_nodes,
            excepted_connections_of_all_nodes_are_passed_by,
            actions_reach_the_connections_of_all_nodes,
            actions_keep_their_place_among_messages,
            an_id_that_was_written_down_still_reaches_its_connection,
            messages_of_a_publisher_arrive_complete_in_order_and_once,
            after_an_awaited_join_nothing_is_missed,
            kinds_and_sizes_of_payloads_are_kept,
            nodes_know_what_the_others_have,
            a_hub_that_goes_publishes_what_it_has,
            nodes_on_other_channels_hear_nothing,
            hubs_whose_names_resemble_each_other_stay_apart,
        }
    };
    ($bus:expr => $($claim:ident,)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $claim() {
            $crate::claims::$claim($bus).await;
        })+
    };
}
