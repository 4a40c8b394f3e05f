//! Rooms: their members, their limits, and no member that stays after its connection has ended.

use std::slice;
use std::time::{Duration, Instant};

use roomcast::{Close, CloseCode, Conn, DisconnectReason, Handler, Hub, JoinError, Target};
use tokio::sync::mpsc;

use support::{Client, Event, Recorded, eventually, serve, within};

async fn recorded() -> Recorded<u32> {
    Recorded::serve(Hub::builder().shards(3).build().unwrap()).await
}

#[tokio::test]
async fn joining_twice_is_joining_once() {
    let mut server = recorded().await;
    let (mut client, conn) = server.connect().await;
    conn.try_join("r").unwrap();
    conn.try_join("r").unwrap();
    assert_eq!(conn.rooms().await, ["r"]);
    assert_eq!(server.hub.member_count("r"), 1);
    assert_eq!(server.hub.members("r").await, slice::from_ref(&conn));
    server.hub.try_to_room("r", &1).unwrap();
    conn.try_leave("r").unwrap();
    server.hub.try_to_room("r", &2).unwrap();
    server.hub.try_broadcast(&3).unwrap();
    assert_eq!(client.get_many::<u32>(2).await, [1, 3]);
    assert_eq!(server.hub.member_count("r"), 0);
}

#[tokio::test]
async fn leaving_a_room_without_membership_is_not_an_error() {
    let mut server = recorded().await;
    let (_a, a) = server.connect().await;
    let (_b, b) = server.connect().await;
    b.try_join("r").unwrap();
    a.try_leave("r").unwrap();
    a.try_leave("nobody's").unwrap();
    assert!(a.rooms().await.is_empty());
    assert_eq!(b.rooms().await, ["r"]);
    assert_eq!(server.hub.members("r").await, slice::from_ref(&b));
}

#[tokio::test]
async fn counts_rooms_and_members_agree() {
    let mut server = recorded().await;
    let hub = server.hub.clone();
    assert_eq!((hub.count(), hub.rooms().await.len(), hub.member_count("a")), (0, 0, 0));
    let mut members = Vec::new();
    for _ in 0..5 {
        members.push(server.connect().await);
    }
    members.iter().for_each(|(_, conn)| conn.try_join("b").unwrap());
    members[0].1.try_join("a").unwrap();
    assert_eq!(hub.count(), 5);
    assert_eq!(hub.member_count("b"), 5);
    assert_eq!(hub.member_count("a"), 1);
    assert_eq!(hub.rooms().await, ["a", "b"], "sorted, each once whatever its shards");
    let mut ids: Vec<_> = hub.members("b").await.iter().map(Conn::id).collect();
    ids.sort_unstable();
    let mut expected: Vec<_> = members.iter().map(|(_, conn)| conn.id()).collect();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    assert!(hub.members("nobody's").await.is_empty());

    let (client, conn) = members.remove(0);
    let mut rooms = conn.rooms().await;
    rooms.sort_unstable();
    assert_eq!(rooms, ["a", "b"]);
    drop(client);
    server.events.ended().await;
    assert_eq!(hub.rooms().await, ["b"], "an empty room is gone");
    assert_eq!((hub.count(), hub.member_count("a"), hub.member_count("b")), (4, 0, 4));
    members[0].1.try_leave("b").unwrap();
    assert_eq!(hub.members("b").await.len(), 3);
    assert_eq!(hub.member_count("b"), 3);
}

#[tokio::test]
async fn empty_name_is_a_room_like_any_other() {
    let mut server = recorded().await;
    let (mut member, conn) = server.connect().await;
    let (mut stranger, _) = server.connect().await;
    conn.try_join("").unwrap();
    assert_eq!(conn.rooms().await, [""]);
    server.hub.try_to_room("", &1).unwrap();
    server.hub.try_publish(&Target::rooms([""]), &2).unwrap();
    server.hub.try_broadcast(&3).unwrap();
    assert_eq!(member.get_many::<u32>(3).await, [1, 2, 3]);
    assert_eq!(stranger.get::<u32>().await, 3);
}

#[tokio::test]
async fn any_string_names_a_room() {
    let mut server = recorded().await;
    let (mut client, conn) = server.connect().await;
    let names = ["é\0\n", "*", "a/b?c=d", " ", "a", "A"];
    for (message, name) in (0..).zip(names) {
        conn.try_join(name).unwrap();
        server.hub.try_to_room(name, &message).unwrap();
    }
    assert_eq!(client.get_many::<u32>(6).await, [0, 1, 2, 3, 4, 5]);
    let mut sorted = names;
    sorted.sort_unstable();
    assert_eq!(server.hub.rooms().await, sorted);
}

#[tokio::test]
async fn name_past_the_limit_is_refused() {
    let mut server = recorded().await;
    let (_client, conn) = server.connect().await;
    conn.try_join(&"n".repeat(255)).unwrap();
    let error = conn.try_join(&"n".repeat(256)).unwrap_err();
    assert_eq!(error, JoinError::NameTooLong { bytes: 256, bytes_max: 255 });
    assert_eq!(error.to_string(), "room name too long: 256 of at most 255 bytes");
    assert_eq!(conn.rooms().await, ["n".repeat(255)]);

    let mut server =
        Recorded::serve(Hub::<u32>::builder().max_room_name_bytes(3).build().unwrap()).await;
    let (_client, conn) = server.connect().await;
    conn.try_join("abc").unwrap();
    assert!(conn.try_join("é€").is_err(), "bytes count, not characters");
    assert_eq!(server.hub.rooms().await, ["abc"]);
}

#[tokio::test]
async fn connection_is_in_1024_rooms_at_most_by_default() {
    let mut server = recorded().await;
    let (_client, conn) = server.connect().await;
    for room in 0..1_024 {
        conn.try_join(&room.to_string()).unwrap();
    }
    assert_eq!(conn.try_join("more"), Err(JoinError::TooManyRooms { rooms_max: 1_024 }));
    assert_eq!(conn.rooms().await.len(), 1_024);
    assert_eq!(server.hub.member_count("more"), 0);
}

#[tokio::test]
async fn leaving_a_room_frees_a_place_for_another_join() {
    let hub = Hub::<u32>::builder().max_rooms_per_conn(2).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (_client, conn) = server.connect().await;
    conn.try_join("a").unwrap();
    conn.try_join("b").unwrap();
    assert_eq!(conn.try_join("c"), Err(JoinError::TooManyRooms { rooms_max: 2 }));
    conn.try_leave("a").unwrap();
    conn.try_join("c").unwrap();
    let mut rooms = conn.rooms().await;
    rooms.sort_unstable();
    assert_eq!(rooms, ["b", "c"]);
    // A second join counts as the first, so it holds a place only until the shard has processed it.
    for _ in 0..10 {
        let _ = conn.try_join("c");
    }
    rooms = conn.rooms().await;
    rooms.sort_unstable();
    assert_eq!(rooms, ["b", "c"]);
    conn.try_leave("c").unwrap();
    conn.try_join("d").unwrap();
}

/// A handler that joins a room, and then rejects the connection.
struct Rejecting;

impl Handler<u32> for Rejecting {
    async fn on_connect(&self, conn: &Conn<u32>) -> Result<(), Close> {
        conn.try_join("r").unwrap();
        conn.try_join("s").unwrap();
        Err(Close::new(CloseCode::from(4_003), "not you"))
    }
}

#[tokio::test]
async fn rejected_connection_leaves_no_ghost_in_the_rooms_that_it_joined() {
    let hub = Hub::<u32>::new();
    let server = serve(hub.handle(Rejecting)).await;
    for _ in 0..3 {
        let mut client = Client::connect(server.addr, "/ws").await;
        assert_eq!(client.closed().await, (4_003, "not you".to_owned()));
    }
    eventually("the hub is empty", || hub.count() == 0).await;
    assert_eq!(hub.member_count("r"), 0);
    assert!(hub.rooms().await.is_empty());
    assert!(hub.members("s").await.is_empty());
    assert_eq!(hub.stats().rooms, 0);
}

#[tokio::test]
async fn join_after_the_end_is_refused_and_leaves_no_ghost() {
    let mut server = recorded().await;
    let (client, conn) = server.connect().await;
    conn.try_join("r").unwrap();
    drop(client);
    server.events.ended().await;
    assert_eq!(conn.try_join("r"), Err(JoinError::Closed));
    conn.try_leave("r").unwrap();
    assert!(server.hub.rooms().await.is_empty());
    assert!(server.hub.members("r").await.is_empty());
    assert_eq!(conn.rooms().await, ["r"], "where it was");
}

#[tokio::test]
async fn join_after_a_close_is_refused() {
    let mut server = recorded().await;
    let (mut client, conn) = server.connect().await;
    conn.close();
    assert_eq!(conn.try_join("r"), Err(JoinError::Closed));
    assert_eq!(client.closed().await.0, 1_000);
    assert!(server.hub.rooms().await.is_empty());
}

/// Joins rooms until the first error, from a task that does not know of the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn join_that_races_with_the_end_leaves_no_ghost() {
    let mut server = recorded().await;
    for round in 0..100 {
        let (client, conn) = server.connect().await;
        let joiner = tokio::spawn(async move {
            let mut room = 0;
            while conn.try_join(&(room % 50).to_string()) != Err(JoinError::Closed) {
                room += 1;
                if room % 40 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        drop(client);
        within("the joiner is refused", joiner).await.unwrap();
        server.events.ended().await;
    }
    let hub = server.hub;
    eventually("no room is left", || hub.stats().rooms == 0).await;
    assert!(hub.rooms().await.is_empty());
    for room in 0..50 {
        assert!(hub.members(&room.to_string()).await.is_empty());
    }
    assert_eq!(hub.stats().rooms, 0);
}

/// A handler that reads the hub's rooms in `on_disconnect`.
struct Looking(mpsc::UnboundedSender<(usize, usize, Vec<String>)>);

impl Handler<u32> for Looking {
    async fn on_connect(&self, conn: &Conn<u32>) -> Result<(), Close> {
        Ok(conn.try_join("r")?)
    }

    async fn on_disconnect(&self, conn: &Conn<u32>, _: &DisconnectReason) -> Result<(), Close> {
        let hub = conn.hub();
        self.0.send((hub.count(), hub.member_count("r"), conn.rooms().await)).unwrap();
        Ok(())
    }
}

#[tokio::test]
async fn ended_connection_is_in_no_room_when_on_disconnect_runs() {
    let hub = Hub::<u32>::new();
    let (sender, mut seen) = mpsc::unbounded_channel();
    let server = serve(hub.handle(Looking(sender))).await;
    let client = Client::connect(server.addr, "/ws").await;
    eventually("it has joined", || hub.member_count("r") == 1).await;
    drop(client);
    let (count, members, rooms) = within("on_disconnect", seen.recv()).await.unwrap();
    assert_eq!((count, members), (0, 0));
    assert_eq!(rooms, ["r"], "the ended connection still reports its rooms");
}

#[tokio::test]
async fn disconnect_does_not_walk_the_rooms_of_other_connections() {
    const ROOMS: usize = 15_000;
    const LEAVERS: usize = 300;
    // No task answers the pings of the resident client, and a busy machine may take a minute.
    let builder = Hub::<u32>::builder().shards(1).ping_interval(Duration::ZERO);
    let hub = builder.max_rooms_per_conn(u32::MAX).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let (_resident, resident) = server.connect().await;
    for room in 0..ROOMS {
        resident.try_join(&format!("room {room}")).unwrap();
    }
    assert_eq!(resident.rooms().await.len(), ROOMS);
    let mut best = Duration::MAX;
    // Another process may delay one round, but not every round.
    for _ in 0..3 {
        let mut leavers = Vec::new();
        for _ in 0..LEAVERS {
            let (client, conn) = server.connect().await;
            conn.try_join("room 0").unwrap();
            leavers.push(client);
        }
        assert_eq!(hub.members("room 0").await.len(), LEAVERS + 1);
        let began = Instant::now();
        drop(leavers);
        eventually("they are gone", || hub.count() == 1).await;
        best = best.min(began.elapsed());
        assert_eq!(hub.members("room 0").await, slice::from_ref(&resident));
    }
    // A walk over all rooms would be 4.5 million steps of at least 50 ns each without optimisation.
    assert!(best < Duration::from_millis(150), "took {best:?}");
    assert_eq!(hub.rooms().await.len(), ROOMS);
    while let Some(event) = server.events.pending() {
        assert!(matches!(event, Event::Ended(conn, _) if conn.id() != resident.id()));
    }
}

#[tokio::test]
async fn rooms_of_a_hub_are_bounded_and_a_refused_join_is_told_to_try_again() {
    let hub = Hub::<u32>::builder().shards(1).max_rooms(2).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (_client, conn) = server.connect().await;
    conn.try_join("a").unwrap();
    conn.try_join("b").unwrap();
    conn.try_join("b").unwrap();
    let error = conn.try_join("c").unwrap_err();
    assert_eq!(error, JoinError::NoMoreRooms { rooms_max: 2 });
    assert_eq!(server.hub.stats().room_refusals, 1);
    let close = Close::from(error);
    assert_eq!(close, Close::new(CloseCode::TRY_AGAIN, "no more rooms: the hub has at most 2"));
    conn.try_leave("a").unwrap();
    // When the shard has answered, it has removed the room.
    assert_eq!(conn.rooms().await, ["b"]);
    conn.try_join("c").unwrap();
}
