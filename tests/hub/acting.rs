//! Actions on the connections of a target: close them, join them to a room, take them out of a room.

use std::time::Duration;

use futures_util::FutureExt;
use roomcast::{
    ActionError, Close, CloseCode, Conn, ConnId, DisconnectReason, Handler, Hub, JoinError, Target,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use support::{Client, Recorded, eventually, serve, within};

const END: u32 = u32::MAX;

/// A call that must wait does not return within this time.
const MOMENT: Duration = Duration::from_millis(300);

/// Four connections in two shards: the first and the second are in room `a`, the second and the third in room `b`.
struct Four {
    server: Recorded<u32>,
    members: Vec<(Client, Conn<u32>)>,
}

impl Four {
    async fn new() -> Self {
        let mut server = Recorded::serve(Hub::builder().shards(2).build().unwrap()).await;
        let mut members = Vec::new();
        for rooms in [&["a"][..], &["a", "b"], &["b"], &[]] {
            let (client, conn) = server.connect().await;
            rooms.iter().for_each(|room| conn.try_join(room).unwrap());
            members.push((client, conn));
        }
        Self { server, members }
    }

    fn hub(&self) -> &Hub<u32> {
        &self.server.hub
    }

    fn id(&self, at: usize) -> ConnId {
        self.members[at].1.id()
    }

    /// Each target, with the connections that it addresses.
    fn targets(&self) -> Vec<(Target<'static>, Vec<usize>)> {
        let id = |at: usize| self.id(at);
        vec![
            (Target::everyone(), vec![0, 1, 2, 3]),
            (Target::everyone().except(id(3)), vec![0, 1, 2]),
            (Target::room("a"), vec![0, 1]),
            (Target::room("a").except(id(0)), vec![1]),
            (Target::rooms(["a", "b"]), vec![0, 1, 2]),
            (Target::rooms(["a", "b"]).except_all([id(0), id(1), id(3)]), vec![2]),
            (Target::rooms(["b", "b", "nobody's"]), vec![1, 2]),
            (Target::conn(id(2)), vec![2]),
            (Target::conn(id(2)).except(id(2)), vec![]),
            (Target::room("nobody's"), vec![]),
            (Target::rooms(Vec::<String>::new()), vec![]),
        ]
    }

    /// The members of a room, by their index.
    async fn members_of(&self, room: &str) -> Vec<usize> {
        let ids: Vec<_> = self.hub().members(room).await.iter().map(Conn::id).collect();
        (0..self.members.len()).filter(|&at| ids.contains(&self.id(at))).collect()
    }

    /// The messages that a client gets before the end marker, which the test sends last.
    async fn until_end(&mut self, at: usize) -> Vec<u32> {
        self.server.hub.try_publish(&Target::conn(self.id(at)), &END).unwrap();
        let mut got = Vec::new();
        loop {
            match self.members[at].0.get().await {
                END => return got,
                message => got.push(message),
            }
        }
    }
}

#[tokio::test]
async fn join_and_leave_move_the_connections_of_each_target() {
    let four = Four::new().await;
    for (target, meant) in four.targets() {
        four.hub().try_join(&target, "room").unwrap();
        assert_eq!(four.members_of("room").await, meant, "{target:?}");
        assert_eq!(four.hub().member_count("room"), meant.len());
        four.hub().try_leave(&Target::everyone(), "room").unwrap();
        assert!(four.members_of("room").await.is_empty());

        four.hub().try_join(&Target::everyone(), "room").unwrap();
        four.hub().try_leave(&target, "room").unwrap();
        let stayed: Vec<usize> = (0..4).filter(|at| !meant.contains(at)).collect();
        assert_eq!(four.members_of("room").await, stayed, "{target:?}");
        four.hub().try_leave(&Target::everyone(), "room").unwrap();
        assert!(four.members_of("room").await.is_empty());
        assert_eq!(four.hub().rooms().await, ["a", "b"], "no empty room is left: {target:?}");
    }
    assert_eq!(four.hub().stats().rooms, 4, "once per shard with members");
}

#[tokio::test]
async fn close_ends_the_connections_of_each_target_and_no_others() {
    for case in 0..Four::new().await.targets().len() {
        let mut four = Four::new().await;
        let (target, meant) = four.targets().swap_remove(case);
        four.hub().try_close(&target, Close::new(CloseCode::from(4_001), "logged out")).unwrap();
        for &at in &meant {
            let told = four.members[at].0.closed().await;
            assert_eq!(told, (4_001, "logged out".to_owned()), "{at} of {target:?}");
            let (_, reason) = four.server.events.ended().await;
            let close = Close::new(CloseCode::from(4_001), "logged out");
            assert_eq!(reason, DisconnectReason::ClosedByServer(close));
        }
        for at in (0..4).filter(|at| !meant.contains(at)) {
            assert!(four.until_end(at).await.is_empty());
            assert!(!four.members[at].1.is_closed());
        }
        assert_eq!(four.hub().count(), 4 - meant.len(), "{target:?}");
    }
}

#[tokio::test]
async fn actions_keep_their_place_among_the_messages_of_a_publisher() {
    let mut four = Four::new().await;
    let hub = four.hub().clone();
    let a = Target::room("a");
    hub.try_to_room("room", &1).unwrap();
    hub.try_join(&a, "room").unwrap();
    hub.try_to_room("room", &2).unwrap();
    hub.try_join(&Target::room("room"), "next").unwrap();
    hub.try_to_room("next", &3).unwrap();
    hub.try_leave(&a, "room").unwrap();
    hub.try_to_room("room", &4).unwrap();
    hub.try_broadcast(&5).unwrap();
    hub.try_close(&Target::room("next").except(four.id(0)), CloseCode::NORMAL).unwrap();
    hub.try_broadcast(&6).unwrap();
    assert_eq!(four.until_end(0).await, [2, 3, 5, 6]);
    assert_eq!(four.members[1].0.get_many::<u32>(3).await, [2, 3, 5]);
    assert_eq!(four.members[1].0.closed().await, (1_000, String::new()));
    assert_eq!(four.until_end(2).await, [5, 6]);
    assert_eq!(four.until_end(3).await, [5, 6]);
}

/// Many publishers on several threads. Each publisher fills and empties its own room.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connection_that_entered_gets_messages_that_the_same_task_sends_to_the_room() {
    const ROUNDS: u32 = 200;
    let mut server = Recorded::serve(Hub::<u32>::builder().shards(3).build().unwrap()).await;
    let mut tasks = Vec::new();
    for task in 0..4 {
        let (mut client, conn) = server.connect().await;
        let hub = server.hub.clone();
        tasks.push(tokio::spawn(async move {
            let (target, room) = (Target::conn(conn.id()), format!("room {task}"));
            for round in 0..ROUNDS {
                hub.join(&target, &room).await.unwrap();
                hub.to_room(&room, &round).await.unwrap();
                hub.leave(&target, &room).await.unwrap();
                hub.to_room(&room, &END).await.unwrap();
            }
            assert!(client.get_many::<u32>(ROUNDS as usize).await.into_iter().eq(0..ROUNDS));
        }));
    }
    for task in tasks {
        within("a task", task).await.unwrap();
    }
    eventually("no room is left", || server.hub.stats().rooms == 0).await;
}

#[tokio::test]
async fn an_empty_audience_leaves_no_room_behind() {
    let hub = Hub::<u32>::builder().shards(2).max_rooms(1).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    server.hub.try_join(&Target::everyone(), "room").unwrap();
    assert!(server.hub.rooms().await.is_empty());
    let (_client, conn) = server.connect().await;
    for _ in 0..10 {
        server.hub.try_join(&Target::everyone().except(conn.id()), "room").unwrap();
        server.hub.try_join(&Target::room("nobody's"), "other").unwrap();
        assert!(server.hub.members("room").await.is_empty());
    }
    assert!(server.hub.rooms().await.is_empty());
    assert_eq!(server.hub.stats().room_refusals, 0, "each has given its place back");
}

#[tokio::test]
async fn limits_of_rooms_hold_for_actions() {
    let hub = Hub::<u32>::builder().shards(1).max_rooms(2).max_rooms_per_conn(1);
    let mut server = Recorded::serve(hub.max_room_name_bytes(5).build().unwrap()).await;
    let (_first, first) = server.connect().await;
    let (_second, second) = server.connect().await;
    let (hub, everyone) = (server.hub.clone(), Target::everyone());
    let error = hub.try_join(&everyone, "longer").unwrap_err();
    assert_eq!(error, ActionError::NameTooLong { bytes: 6, bytes_max: 5 });
    assert_eq!(error.to_string(), "room name too long: 6 of at most 5 bytes");
    assert_eq!(Close::from(error).code, CloseCode::POLICY);
    first.try_join("a").unwrap();
    hub.try_join(&everyone, "b").unwrap();
    assert_eq!(first.rooms().await, ["a"]);
    assert_eq!(second.rooms().await, ["b"]);
    assert_eq!(hub.stats().join_refusals, 1);
    let error = hub.try_join(&everyone, "c").unwrap_err();
    assert_eq!(error, ActionError::NoMoreRooms { rooms_max: 2 });
    assert_eq!(Close::from(error).code, CloseCode::TRY_AGAIN);
    assert_eq!(hub.stats().room_refusals, 1);
    assert_eq!(first.try_join("b"), Err(JoinError::TooManyRooms { rooms_max: 1 }));
    hub.try_leave(&everyone, "a").unwrap();
    assert!(first.rooms().await.is_empty());
    hub.try_join(&everyone, "b").unwrap();
    assert_eq!(first.rooms().await, ["b"], "the place of the room that it left");
    assert_eq!(
        hub.stats().join_refusals,
        1,
        "a connection that is already in the room is not refused"
    );
}

#[tokio::test]
async fn close_frames_are_cut_and_codes_that_may_not_be_sent_are_left_out() {
    for (close, told) in [
        (Close::new(CloseCode::from(4_000), "é".repeat(70)), (4_000, "é".repeat(61))),
        (Close::new(CloseCode::ABNORMAL, "why"), (1_005, String::new())),
        (Close::from(CloseCode::POLICY), (1_008, String::new())),
    ] {
        let mut server = Recorded::serve(Hub::<u32>::new()).await;
        let (mut client, conn) = server.connect().await;
        server.hub.try_close(&conn.id().into(), close).unwrap();
        assert_eq!(client.closed().await, told);
        let (_, reason) = server.events.ended().await;
        let expected = Close::new(CloseCode::from(told.0), told.1);
        assert_eq!(reason, DisconnectReason::ClosedByServer(expected));
        assert!(conn.is_closed() && conn.try_send(&1).is_err());
    }
}

#[tokio::test]
async fn full_inbox_refuses_try_actions_and_delays_waiting_actions() {
    let hub = Hub::<u32>::builder().shards(1).inbox_messages(4).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let (mut client, conn) = server.connect().await;
    // The runtime has one thread, so the shard does not run between these calls.
    (0..4).for_each(|message| hub.try_broadcast(&message).unwrap());
    let (everyone, before) = (Target::everyone(), hub.stats().inbox_refusals);
    assert_eq!(hub.try_join(&everyone, "room"), Err(ActionError::Overloaded));
    assert_eq!(hub.try_close(&everyone, CloseCode::NORMAL), Err(ActionError::Overloaded));
    assert_eq!(hub.stats().inbox_refusals, before + 2);
    within("the join", hub.join(&everyone, "room")).await.unwrap();
    assert_eq!(conn.rooms().await, ["room"]);
    within("the leave", hub.leave(&everyone, "room")).await.unwrap();
    assert!(conn.rooms().await.is_empty());
    within("the close", hub.close(&everyone, Close::normal())).await.unwrap();
    assert_eq!(client.get_many::<u32>(4).await, [0, 1, 2, 3]);
    assert_eq!(client.closed().await.0, 1_000);
}

#[tokio::test]
async fn waiting_action_that_is_dropped_does_nothing() {
    let hub = Hub::<u32>::builder().shards(1).inbox_messages(4).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let (mut client, conn) = server.connect().await;
    (0..4).for_each(|message| hub.try_broadcast(&message).unwrap());
    let everyone = Target::everyone();
    assert!(hub.close(&everyone, Close::normal()).now_or_never().is_none());
    assert!(hub.join(&everyone, "room").now_or_never().is_none());
    assert_eq!(client.get_many::<u32>(4).await, [0, 1, 2, 3]);
    assert!(timeout(MOMENT, client.next()).await.is_err(), "it is open");
    assert!(!conn.is_closed() && hub.rooms().await.is_empty());
}

#[tokio::test]
async fn a_closed_hub_acts_on_nobody() {
    let hub = Hub::<u32>::new();
    hub.shutdown_now();
    let everyone = Target::everyone();
    assert_eq!(hub.try_close(&everyone, Close::normal()), Err(ActionError::Closed));
    assert_eq!(hub.try_join(&everyone, "room"), Err(ActionError::Closed));
    assert_eq!(hub.leave(&everyone, "room").await, Err(ActionError::Closed));
}

/// Joins its own connection to a room through the hub, in `on_connect`.
struct Moving(mpsc::UnboundedSender<Vec<String>>);

impl Handler<u32> for Moving {
    async fn on_connect(&self, conn: &Conn<u32>) -> Result<(), Close> {
        conn.hub().try_join(&Target::conn(conn.id()), "lobby")?;
        self.0.send(conn.rooms().await).unwrap();
        conn.hub().try_close(&Target::room("lobby"), CloseCode::from(4_002))?;
        Ok(())
    }
}

#[tokio::test]
async fn a_callback_can_act_on_its_own_connection() {
    let hub = Hub::<u32>::new();
    let (sender, mut rooms) = mpsc::unbounded_channel();
    let server = serve(hub.handle(Moving(sender))).await;
    let mut client = Client::connect(server.addr, "/ws").await;
    assert_eq!(within("on_connect", rooms.recv()).await.unwrap(), ["lobby"]);
    assert_eq!(client.closed().await.0, 4_002);
    eventually("it is gone", || hub.count() == 0 && hub.stats().rooms == 0).await;
}
