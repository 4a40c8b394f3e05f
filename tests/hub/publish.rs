//! The recipients of a published message, the number of copies, and the order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use roomcast::{
    Codec, Conn, ConnId, DecodeError, EncodeError, FrameKind, Hub, PublishError, SendError, Stats,
    Target,
};
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::mpsc;

use support::{Client, RawClient, Recorded, TEXT, eventually, frame, serve, within};

async fn three() -> (Recorded<u32>, [(Client, Conn<u32>); 3]) {
    let hub = Hub::builder().shards(2).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let members = [server.connect().await, server.connect().await, server.connect().await];
    (server, members)
}

/// The messages that a client gets before `end`, which the test sends last.
async fn until_end(hub: &Hub<u32>, (client, conn): &mut (Client, Conn<u32>)) -> Vec<u32> {
    const END: u32 = u32::MAX;
    hub.try_publish(&Target::conn(conn.id()), &END).unwrap();
    let mut got = Vec::new();
    loop {
        match client.get().await {
            END => return got,
            message => got.push(message),
        }
    }
}

#[tokio::test]
async fn broadcast_reaches_every_connection() {
    let (server, mut members) = three().await;
    server.hub.try_broadcast(&1).unwrap();
    for member in &mut members {
        assert_eq!(until_end(&server.hub, member).await, [1]);
    }
}

#[tokio::test]
async fn to_room_reaches_its_members_alone() {
    let (server, mut members) = three().await;
    members[0].1.try_join("r").unwrap();
    members[1].1.try_join("r").unwrap();
    members[2].1.try_join("other").unwrap();
    server.hub.try_to_room("r", &1).unwrap();
    assert_eq!(until_end(&server.hub, &mut members[0]).await, [1]);
    assert_eq!(until_end(&server.hub, &mut members[1]).await, [1]);
    assert_eq!(until_end(&server.hub, &mut members[2]).await, [0; 0]);
}

#[tokio::test]
async fn publish_to_an_empty_room_is_not_an_error() {
    let hub = Hub::<u32>::new();
    hub.try_broadcast(&1).unwrap();
    hub.try_to_room("empty", &1).unwrap();
    hub.try_publish(&Target::rooms(["a", "b"]), &1).unwrap();
    hub.try_publish(&Target::rooms(Vec::<String>::new()), &1).unwrap();
}

#[tokio::test]
async fn sender_can_be_excluded() {
    let (server, mut members) = three().await;
    for (_, conn) in &members {
        conn.try_join("r").unwrap();
    }
    let sender = members[1].1.clone();
    sender.hub().try_publish(&Target::room("r").except(sender.id()), &1).unwrap();
    sender.hub().try_publish(&Target::everyone().except(sender.id()), &2).unwrap();
    assert_eq!(until_end(&server.hub, &mut members[0]).await, [1, 2]);
    assert_eq!(until_end(&server.hub, &mut members[1]).await, [0; 0]);
    assert_eq!(until_end(&server.hub, &mut members[2]).await, [1, 2]);
}

#[tokio::test]
async fn several_connections_can_be_excluded() {
    let (server, mut members) = three().await;
    let ids: Vec<ConnId> = members.iter().map(|(_, conn)| conn.id()).collect();
    let target = Target::everyone().except_all([ids[0], ids[2]]);
    server.hub.try_publish(&target, &1).unwrap();
    server.hub.try_publish(&Target::conn(ids[2]).except(ids[2]), &2).unwrap();
    assert_eq!(until_end(&server.hub, &mut members[0]).await, [0; 0]);
    assert_eq!(until_end(&server.hub, &mut members[1]).await, [1]);
    assert_eq!(until_end(&server.hub, &mut members[2]).await, [0; 0]);
}

async fn three_in_two_rooms() -> (Recorded<u32>, [(Client, Conn<u32>); 3]) {
    let (server, members) = three().await;
    members[0].1.try_join("a").unwrap();
    members[0].1.try_join("b").unwrap();
    members[1].1.try_join("b").unwrap();
    (server, members)
}

#[tokio::test]
async fn member_of_two_rooms_gets_a_message_to_both_once() {
    let (server, mut members) = three_in_two_rooms().await;
    let ids: Vec<ConnId> = members.iter().map(|(_, conn)| conn.id()).collect();
    // Each message is sent before the next is published, because messages of one turn take another code path.
    for (message, target) in [
        (1, Target::rooms(["a", "b"])),
        (2, Target::rooms(["b", "nobody's", "b"])),
        (3, Target::rooms(["a", "b"]).except(ids[0])),
        (4, Target::rooms(["a", "a"])),
    ] {
        server.hub.try_publish(&target, &message).unwrap();
        for (_, conn) in &members {
            conn.rooms().await;
        }
    }
    assert_eq!(until_end(&server.hub, &mut members[0]).await, [1, 2, 4]);
    assert_eq!(until_end(&server.hub, &mut members[1]).await, [1, 2, 3]);
    assert_eq!(until_end(&server.hub, &mut members[2]).await, [0; 0]);
}

#[tokio::test]
async fn member_of_two_rooms_gets_each_message_of_a_burst_once() {
    let (server, mut members) = three_in_two_rooms().await;
    for message in 0..30 {
        let target = match message % 3 {
            0 => Target::rooms(["a", "b"]),
            1 => Target::rooms(["b", "a", "b"]),
            _ => Target::room("b"),
        };
        server.hub.try_publish(&target, &message).unwrap();
    }
    let all: Vec<u32> = (0..30).collect();
    assert_eq!(until_end(&server.hub, &mut members[0]).await, all);
    assert_eq!(until_end(&server.hub, &mut members[1]).await, all);
    assert_eq!(until_end(&server.hub, &mut members[2]).await, [0; 0]);
}

#[tokio::test]
async fn one_connection_can_be_addressed() {
    let (server, mut members) = three().await;
    let id = members[1].1.id();
    server.hub.try_publish(&Target::conn(id), &1).unwrap();
    server.hub.try_publish(&id.into(), &2).unwrap();
    members[1].1.try_send(&3).unwrap();
    assert_eq!(until_end(&server.hub, &mut members[0]).await, [0; 0]);
    assert_eq!(until_end(&server.hub, &mut members[1]).await, [1, 2, 3]);
    assert_eq!(until_end(&server.hub, &mut members[2]).await, [0; 0]);
}

#[tokio::test]
async fn publish_to_a_connection_that_has_ended_reaches_nobody() {
    let (mut server, [mut first, second, _third]) = three().await;
    let gone = second.1.id();
    drop(second);
    server.events.ended().await;
    server.hub.try_publish(&Target::conn(gone), &1).unwrap();
    // The new connection has the shard and the slot of the connection that ended.
    let mut fresh = server.connect().await;
    let mut next = server.connect().await;
    server.hub.try_publish(&Target::conn(gone), &2).unwrap();
    for member in [&mut first, &mut fresh, &mut next] {
        assert_eq!(until_end(&server.hub, member).await, [0; 0]);
    }
}

#[tokio::test]
async fn waiting_calls_publish_like_try_calls() {
    let (server, mut members) = three().await;
    let hub = &server.hub;
    members[0].1.try_join("r").unwrap();
    hub.broadcast(&1).await.unwrap();
    hub.to_room("r", &2).await.unwrap();
    hub.publish(&Target::everyone().except(members[1].1.id()), &3).await.unwrap();
    let encoded = hub.encode(&4).unwrap();
    hub.publish_encoded(&Target::room("r"), &encoded).await.unwrap();
    members[0].1.send(&5).await.unwrap();
    assert_eq!(until_end(hub, &mut members[0]).await, [1, 2, 3, 4, 5]);
    assert_eq!(until_end(hub, &mut members[1]).await, [1]);
    assert_eq!(until_end(hub, &mut members[2]).await, [1, 3]);
}

/// A message that counts its encodings.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Codec<String> for Counting {
    fn encode(&self, message: &String, out: &mut Vec<u8>) -> Result<FrameKind, EncodeError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        out.extend_from_slice(message.as_bytes());
        Ok(FrameKind::Text)
    }

    fn accepts(&self, kind: FrameKind) -> bool {
        kind == FrameKind::Text
    }

    fn decode(&self, _: FrameKind, payload: &mut [u8]) -> Result<String, DecodeError> {
        String::from_utf8(payload.to_vec()).map_err(DecodeError::new)
    }
}

#[tokio::test]
async fn message_is_encoded_once_for_all_recipients() {
    let codec = Counting::default();
    let hub = Hub::with_codec(codec.clone()).shards(2).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let (mut a, conn) = server.connect().await;
    let (mut b, _) = server.connect().await;
    hub.try_broadcast(&"one".to_owned()).unwrap();
    assert_eq!(codec.0.load(Ordering::Relaxed), 1, "for all recipients");

    let encoded = hub.encode(&"two".to_owned()).unwrap();
    assert_eq!(encoded.as_bytes(), b"\x81\x03two");
    for _ in 0..2 {
        hub.try_publish_encoded(&Target::everyone(), &encoded).unwrap();
    }
    conn.try_send_encoded(&encoded.clone()).unwrap();
    assert_eq!(codec.0.load(Ordering::Relaxed), 2);
    for text in ["one", "two", "two", "two"] {
        assert_eq!(a.next_text().await, text);
    }
    for text in ["one", "two", "two"] {
        assert_eq!(b.next_text().await, text);
    }
}

/// A message that cannot be encoded if it is `Err`.
#[derive(Deserialize)]
struct Picky(Result<u32, String>);

impl Serialize for Picky {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Ok(number) => number.serialize(serializer),
            Err(why) => Err(serde::ser::Error::custom(why)),
        }
    }
}

#[tokio::test]
async fn message_that_cannot_be_encoded_is_an_error_and_reaches_nobody() {
    let mut server = Recorded::serve(Hub::<Picky>::new()).await;
    let (mut client, conn) = server.connect().await;
    let bad = Picky(Err("no such number".to_owned()));
    let hub = &server.hub;
    for refused in [
        hub.try_broadcast(&bad),
        hub.try_to_room("r", &bad),
        hub.encode(&bad).map(drop),
        hub.broadcast(&bad).await,
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, PublishError::Encode(_)), "{error:?}");
        assert!(error.to_string().contains("no such number"), "{error}");
    }
    assert!(matches!(conn.try_send(&bad), Err(SendError::Encode(_))));
    assert!(matches!(conn.send(&bad).await, Err(SendError::Encode(_))));
    hub.try_broadcast(&Picky(Ok(7))).unwrap();
    assert_eq!(client.get::<u32>().await, 7);
}

#[tokio::test]
async fn burst_leaves_in_one_write_per_member() {
    let mut server = Recorded::serve(Hub::<u32>::builder().shards(1).build().unwrap()).await;
    let mut members = Vec::new();
    for _ in 0..5 {
        let (client, conn) = server.connect().await;
        conn.try_join("r").unwrap();
        members.push(client);
    }
    server.hub.members("r").await;
    let before = server.hub.stats();
    // There is no `.await` between the calls, and one thread: the shard takes all commands together.
    for message in 0..16 {
        server.hub.try_to_room("r", &message).unwrap();
    }
    for member in &mut members {
        assert_eq!(member.get_many::<u32>(16).await, (0..16).collect::<Vec<_>>());
    }
    let after = server.hub.stats();
    assert_eq!(after.shard_messages - before.shard_messages, 16);
    assert_eq!(after.deliveries - before.deliveries, 16 * 5);
    assert_eq!(after.writes - before.writes, 5);
}

#[tokio::test]
async fn burst_to_many_rooms_leaves_in_one_write_per_member() {
    let mut server = Recorded::serve(Hub::<u32>::builder().shards(1).build().unwrap()).await;
    let mut members = Vec::new();
    for room in 0..8 {
        let (client, conn) = server.connect().await;
        conn.try_join(&room.to_string()).unwrap();
        members.push(client);
    }
    server.hub.members("0").await;
    let before = server.hub.stats();
    for message in 0..40 {
        server.hub.try_to_room(&(message % 8).to_string(), &message).unwrap();
    }
    for (room, member) in (0..).zip(&mut members) {
        let expected: Vec<u32> = (0..5).map(|round| round * 8 + room).collect();
        assert_eq!(member.get_many::<u32>(5).await, expected);
    }
    let after = server.hub.stats();
    assert_eq!(after.deliveries - before.deliveries, 40);
    assert_eq!(after.writes - before.writes, 8);
}

#[tokio::test]
async fn excluded_connection_gets_the_other_messages_of_a_burst_in_order() {
    let (server, mut members) = three().await;
    for (_, conn) in &members {
        conn.try_join("r").unwrap();
    }
    let excepted = members[0].1.id();
    for message in 0..60 {
        let target = match message % 3 {
            0 => Target::room("r").except(excepted),
            1 => Target::room("r"),
            _ => Target::everyone(),
        };
        server.hub.try_publish(&target, &message).unwrap();
    }
    let all: Vec<u32> = (0..60).collect();
    let others: Vec<u32> = (0..60).filter(|message| message % 3 != 0).collect();
    assert_eq!(until_end(&server.hub, &mut members[0]).await, others);
    assert_eq!(until_end(&server.hub, &mut members[1]).await, all);
    assert_eq!(until_end(&server.hub, &mut members[2]).await, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn join_is_visible_to_another_task_that_was_notified_after_it() {
    let hub = Hub::<u32>::builder().shards(3).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let (mut client, conn) = server.connect().await;
    let (tell, mut told) = mpsc::channel::<(String, u32)>(1);
    let id = conn.id();
    let publisher = tokio::spawn(async move {
        while let Some((room, message)) = told.recv().await {
            hub.try_to_room(&room, &message).unwrap();
            hub.try_publish(&Target::conn(id), &u32::MAX).unwrap();
        }
    });
    for round in 0..500 {
        // Often this is the room of the last round, which the shard may be removing.
        let room = (round / 2 % 5).to_string();
        conn.try_join(&room).unwrap();
        tell.send((room.clone(), round)).await.unwrap();
        assert_eq!(client.get_many::<u32>(2).await, [round, u32::MAX], "after the join");
        conn.try_leave(&room).unwrap();
        tell.send((room, round)).await.unwrap();
        assert_eq!(client.get::<u32>().await, u32::MAX, "after the leave");
    }
    drop(tell);
    within("the publisher ends", publisher).await.unwrap();
}

/// Whether this message of the mix is for member 0 (in room a), 1 (in room b) or 2 (in both rooms).
fn is_for(member: usize, message: u32) -> bool {
    match message % 7 {
        0 => true,
        1 => member != 1,
        2 => member != 0,
        3 => true,
        4 => member == 2,
        5 => member == 0,
        _ => member != 2,
    }
}

fn publish_mixed(hub: &Hub<u32>, ids: &[ConnId], message: u32) {
    let target = match message % 7 {
        0 => Target::everyone(),
        1 => Target::room("a"),
        2 => Target::room("b"),
        3 => Target::rooms(["a", "b"]),
        4 => Target::conn(ids[2]),
        5 => Target::room("a").except(ids[2]),
        _ => Target::everyone().except(ids[2]),
    };
    hub.try_publish(&target, &message).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn order_of_a_publisher_holds_across_rooms_broadcasts_and_direct_sends() {
    const MESSAGES: u32 = 5_000;
    const PUBLISHERS: u32 = 3;
    // The test is not about full queues, and the machine may be busy.
    let hub = Hub::<u32>::builder().shards(3).send_buffer(4_096).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let mut members = Vec::new();
    for rooms in [&["a"][..], &["b"], &["a", "b"]] {
        let (client, conn) = server.connect().await;
        for room in rooms {
            conn.try_join(room).unwrap();
        }
        members.push((client, conn.id()));
    }
    let ids: Vec<ConnId> = members.iter().map(|(_, id)| *id).collect();
    for publisher in 0..PUBLISHERS {
        let (hub, ids) = (hub.clone(), ids.clone());
        tokio::spawn(async move {
            for message in 0..MESSAGES {
                publish_mixed(&hub, &ids, publisher * MESSAGES + message);
                if message % 16 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    for (member, (client, _)) in members.iter_mut().enumerate() {
        let is_for_it = |message: &u32| is_for(member, *message);
        let count = (0..MESSAGES * PUBLISHERS).filter(is_for_it).count();
        let got = client.get_many::<u32>(count).await;
        for publisher in 0..PUBLISHERS {
            let range = publisher * MESSAGES..(publisher + 1) * MESSAGES;
            let got: Vec<u32> = got.iter().copied().filter(|got| range.contains(got)).collect();
            let expected: Vec<u32> = range.filter(is_for_it).collect();
            assert!(got == expected, "member {member}, publisher {publisher}: {got:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn join_during_traffic_does_not_break_order() {
    const MESSAGES: u32 = 4_000;
    let hub = Hub::<u32>::builder().shards(2).send_buffer(4_096).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let (mut clients, mut conns) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let (client, conn) = server.connect().await;
        conn.try_join("even").unwrap();
        clients.push(client);
        conns.push(conn);
    }
    let publisher = tokio::spawn(async move {
        for message in 0..MESSAGES {
            // Some clients join, one after the other, while messages are published.
            if message % 500 == 250
                && let Some(conn) = conns.pop()
            {
                tokio::spawn(async move { conn.try_join("odd").unwrap() });
            }
            let room = if message % 2 == 0 { "even" } else { "odd" };
            hub.try_to_room(room, &message).unwrap();
            if message % 8 == 0 {
                tokio::task::yield_now().await;
            }
        }
        hub.try_broadcast(&u32::MAX).unwrap();
    });
    for client in &mut clients {
        let mut got = Vec::new();
        loop {
            match client.get().await {
                u32::MAX => break,
                message => got.push(message),
            }
        }
        assert!(got.is_sorted(), "across rooms: {got:?}");
        let (even, odd): (Vec<u32>, Vec<u32>) = got.iter().partition(|got| **got % 2 == 0);
        assert!(even.iter().copied().eq((0..MESSAGES).step_by(2)), "none is missing: {even:?}");
        let first = *odd.first().expect("the client has joined long before the end");
        assert!(odd.iter().copied().eq((first..MESSAGES).step_by(2)), "no gap: {odd:?}");
    }
    within("the publisher ends", publisher).await.unwrap();
}

/// An audience so large that the shard serves it in slices, with other work between the slices.
#[tokio::test]
async fn order_holds_in_a_large_audience_while_members_come_and_go() {
    const CROWD: usize = 1_200;
    let hub = Hub::<u32>::builder().shards(1).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let (client, conn) = server.connect_raw().await;
        conn.try_join("all").unwrap();
        crowd.push(client);
    }
    let mut mover = server.connect().await;
    let conn = mover.1.clone();
    conn.try_join("all").unwrap();
    conn.try_join("few").unwrap();
    let (mut expected, mut expected_of_crowd) = (Vec::new(), Vec::new());
    for message in 0..60 {
        let (target, is_for_mover, is_for_crowd) = match message % 6 {
            0 => (Target::room("all"), !(20..40).contains(&message), true),
            1 => (Target::conn(conn.id()), true, false),
            2 => (Target::everyone().except(conn.id()), false, true),
            3 => (Target::room("few"), true, false),
            4 => (Target::rooms(["all", "few"]), true, true),
            _ => (Target::everyone(), true, true),
        };
        match message {
            20 => conn.try_leave("all").unwrap(),
            40 => conn.try_join("all").unwrap(),
            // The shard has begun the earlier messages.
            10 | 30 | 50 => tokio::task::yield_now().await,
            _ => {}
        }
        hub.try_publish(&target, &message).unwrap();
        expected.extend(is_for_mover.then_some(message));
        expected_of_crowd.extend(is_for_crowd.then_some(message));
    }
    assert_eq!(until_end(&hub, &mut mover).await, expected);
    for client in &mut crowd {
        for message in &expected_of_crowd {
            let (_, payload) = client.read_frame().await.expect("nobody is evicted");
            assert_eq!(payload, message.to_string().as_bytes());
        }
    }
    let stats = hub.stats();
    let all = expected_of_crowd.len() * CROWD + expected.len() + 1;
    assert_eq!((stats.deliveries, stats.dropped()), (all as u64, 0));
}

#[tokio::test]
async fn burst_to_a_large_audience_leaves_in_one_write_per_member() {
    const CROWD: u64 = 1_200;
    let hub = Hub::<u32>::builder().shards(1).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let (client, conn) = server.connect_raw().await;
        conn.try_join("r").unwrap();
        crowd.push(client);
    }
    hub.members("r").await;
    let before = hub.stats();
    for message in 0..16 {
        hub.try_to_room("r", &message).unwrap();
    }
    for client in &mut crowd {
        for message in 0..16 {
            let (_, payload) = client.read_frame().await.expect("nobody is evicted");
            assert_eq!(payload, message.to_string().as_bytes());
        }
    }
    let after = hub.stats();
    assert_eq!(after.deliveries - before.deliveries, 16 * CROWD);
    assert_eq!(after.writes - before.writes, CROWD);
}

/// One thread serves, so the test knows which messages the thread finds together.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn messages_that_arrive_together_leave_together() {
    const CLIENTS: usize = 10;
    let hub = Hub::<u32>::builder().shards(1).build().unwrap();
    let relay = hub
        .handlers()
        .on_connect(|conn| async move { Ok(conn.try_join("r")?) })
        .on_message(|conn, n| async move { conn.hub().to_room("r", &n).await.unwrap() });
    let server = serve(hub.handle(relay)).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(RawClient::connect(server.addr).await);
    }
    eventually("all have joined", || hub.member_count("r") == CLIENTS).await;
    // This task keeps the thread busy until all clients have sent.
    let sending = tokio::spawn(async move {
        for client in &clients {
            client.stream.try_write(&frame(TEXT, b"7")).expect("its socket is empty");
        }
        clients
    });
    for client in &mut sending.await.unwrap() {
        for _ in 0..CLIENTS {
            assert_eq!(client.read_frame().await.map(|(_, text)| text), Some(b"7".to_vec()));
        }
    }
    let delivered = (CLIENTS * CLIENTS) as u64;
    let is_counted = |stats: Stats| stats.deliveries == delivered && stats.writes > 0;
    eventually("all is counted", || is_counted(hub.stats())).await;
    assert_eq!(hub.stats().writes, CLIENTS as u64, "one for each member");
}
