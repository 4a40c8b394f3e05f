//! The state of a room: each message updates the state once and in order, joiners read the state, and the state is
//! dropped with the last member.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::FutureExt;
use roomcast::{Conn, Encoded, Hub, JoinError, Local, RoomState, Target};
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};

use support::{Client, Recorded, eventually, within};

/// A state that keeps every message of each room that has members.
#[derive(Default)]
struct History {
    rooms: Mutex<BTreeMap<String, Kept>>,
    /// The number of rooms created so far, which is the number of the next room.
    begun: AtomicUsize,
}

#[derive(Clone, Default)]
struct Kept {
    number: usize,
    messages: Vec<Encoded>,
}

impl History {
    fn rooms(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.rooms.lock().unwrap()
    }

    /// Reads the messages that the state keeps of a room; creates the room's entry if there is none.
    fn with<V>(&self, room: &str, look: impl FnOnce(&mut Kept) -> V) -> V {
        let begin = || {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            Kept { number, messages: Vec::new() }
        };
        look(self.rooms().entry(room.to_owned()).or_insert_with(begin))
    }

    fn enter(&self, room: &str) -> Kept {
        self.with(room, |kept| kept.clone())
    }

    fn number(&self, room: &str) -> Option<usize> {
        self.rooms().get(room).map(|kept| kept.number)
    }

    fn messages(&self, room: &str) -> Vec<u32> {
        self.rooms().get(room).map_or_else(Vec::new, |kept| numbers(&kept.messages))
    }

    fn len(&self, room: &str) -> usize {
        self.rooms().get(room).map_or(0, |kept| kept.messages.len())
    }
}

impl RoomState for History {
    fn on_publish(&self, room: &str, message: &Encoded) {
        self.with(room, |kept| kept.messages.push(message.clone()));
    }

    fn on_empty(&self, room: &str) {
        self.rooms().remove(room);
    }
}

fn number(message: &Encoded) -> u32 {
    serde_json::from_slice(message.payload()).unwrap()
}

fn numbers(messages: &[Encoded]) -> Vec<u32> {
    messages.iter().map(number).collect()
}

const END: u32 = u32::MAX;

/// The messages that a client gets before `END`.
async fn until_end(client: &mut Client) -> Vec<u32> {
    let mut got = Vec::new();
    loop {
        match client.get().await {
            END => return got,
            message => got.push(message),
        }
    }
}

/// A node, and the messages that its state keeps.
struct Node {
    server: Recorded<u32>,
    history: Arc<History>,
}

impl Node {
    async fn of(bus: Option<&Local>) -> Self {
        let history = Arc::new(History::default());
        let builder = Hub::builder().shards(3).room_state(history.clone());
        // A client of this test may be slow only because the machine is busy.
        let builder = builder.send_buffer_bytes(64 << 20);
        let builder = match bus {
            Some(bus) => builder.backplane(bus.clone(), "test"),
            None => builder,
        };
        Self { server: Recorded::serve(builder.build().unwrap()).await, history }
    }

    async fn pair() -> [Self; 2] {
        let bus = Local::new();
        let nodes = [Self::of(Some(&bus)).await, Self::of(Some(&bus)).await];
        for node in &nodes {
            let knows_both = || node.hub().cluster().nodes().len() == 2;
            eventually("the nodes know each other", knows_both).await;
        }
        nodes
    }

    fn hub(&self) -> &Hub<u32> {
        &self.server.hub
    }
}

/// The deadline of each joiner.
const MESSAGES: usize = 29;
const PUBLISHERS: usize = 4;

/// The number of messages that the state received, and of joiners that entered.
#[derive(Default)]
struct Progress {
    published: watch::Sender<usize>,
    joined: watch::Sender<usize>,
}

/// Waits until the count is reached.
async fn reached(count: &watch::Sender<usize>, enough: usize) {
    count.subscribe().wait_for(|count| *count >= enough).await.unwrap();
}

/// Publishes a share of the messages, at most a little ahead of the joiners.
async fn publish(hub: Hub<u32>, share: usize, messages: usize, progress: Arc<Progress>) {
    for message in (share..messages).step_by(PUBLISHERS) {
        reached(&progress.joined, (message / MESSAGES).saturating_sub(16)).await;
        let message = message as u32;
        match message % 3 {
            0 => hub.to_room("r", &message).await.unwrap(),
            1 => hub.publish(&Target::rooms(["s", "r", "r"]), &message).await.unwrap(),
            _ => hub.try_to_room("r", &message).unwrap(),
        }
        progress.published.send_modify(|count| *count += 1);
    }
}

/// Joins at its turn. Returns the number of messages that the state had before the join.
async fn enter(
    conn: Conn<u32>,
    at: usize,
    history: Arc<History>,
    progress: Arc<Progress>,
) -> usize {
    reached(&progress.published, at * MESSAGES).await;
    let mut before = 0;
    let first = || {
        let messages = history.enter("r").messages;
        before = messages.len();
        messages
    };
    match at % 2 {
        0 => conn.join_with("r", first).await.unwrap(),
        _ => conn.try_join_with("r", first).unwrap(),
    }
    progress.joined.send_modify(|count| *count += 1);
    before
}

/// Clients join while many messages are published. Each client gets all messages that its node keeps, in order.
async fn joiners_get_each_message_once(mut nodes: Vec<Node>, joiners_max: usize) {
    let messages = joiners_max * MESSAGES;
    let mut hosts = Vec::new();
    let mut joiners = Vec::new();
    for (at, node) in nodes.iter_mut().enumerate() {
        let (client, conn) = node.server.connect().await;
        conn.join_subscribed("r").await.unwrap();
        hosts.push((at, (client, conn)));
    }
    for at in 0..joiners_max {
        let node = at % nodes.len();
        joiners.push((node, nodes[node].server.connect().await));
    }
    let progress = Arc::new(Progress::default());
    let (mut publishing, mut joining) = (JoinSet::new(), JoinSet::new());
    for share in 0..PUBLISHERS {
        let hub = nodes[share % nodes.len()].hub().clone();
        publishing.spawn(publish(hub, share, messages, progress.clone()));
    }
    for (at, (node, (_, conn))) in joiners.iter().enumerate() {
        let history = nodes[*node].history.clone();
        joining.spawn(enter(conn.clone(), at, history, progress.clone()));
    }
    let before = within("all join", joining.join_all()).await;
    within("all is published", publishing.join_all()).await;
    let amidst = before.iter().filter(|&&before| 0 < before && before < messages).count();
    assert!(amidst > joiners_max / 2, "{before:?}");

    for node in &nodes {
        eventually("all has come", || node.history.len("r") == messages).await;
    }
    for node in &nodes {
        let each: BTreeSet<u32> = node.history.messages("r").into_iter().collect();
        assert_eq!(each.len(), messages);
    }
    for (node, (mut client, conn)) in hosts.into_iter().chain(joiners) {
        conn.send(&END).await.unwrap();
        let got = until_end(&mut client).await;
        assert!(got == nodes[node].history.messages("r"), "{conn:?} got {} messages", got.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn joiners_get_each_message_once_on_one_node() {
    joiners_get_each_message_once(vec![Node::of(None).await], 139).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn joiners_get_each_message_once_on_each_of_two_nodes() {
    joiners_get_each_message_once(Node::pair().await.into(), 71).await;
}

/// Joins and leaves. The entry of a room stays the same while the client is a member.
async fn come_and_go(conn: Conn<u32>, seed: usize, history: Arc<History>) {
    for step in 0..300 {
        let room = ["a", "b", "c"][(seed + step * 7) % 3];
        let mut number = 0;
        let first = || {
            let kept = history.enter(room);
            number = kept.number;
            kept.messages
        };
        conn.join_with(room, first).await.unwrap();
        conn.hub().to_room(room, &(step as u32)).await.unwrap();
        if step % 5 == 0 {
            // By now the shards have removed the empty rooms.
            conn.rooms().await;
        }
        assert_eq!(
            history.number(room),
            Some(number),
            "the state was not dropped while it had a member"
        );
        match step % 3 {
            0 => conn.hub().leave(&Target::conn(conn.id()), room).await.unwrap(),
            _ => conn.leave(room).await.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn state_lives_as_long_as_its_room_has_members() {
    let mut node = Node::of(None).await;
    let mut clients = Vec::new();
    let mut coming = JoinSet::new();
    for seed in 0..8 {
        let (client, conn) = node.server.connect().await;
        coming.spawn(come_and_go(conn, seed, node.history.clone()));
        clients.push(client);
    }
    // The target also has rooms without members.
    let hub = node.hub().clone();
    coming.spawn(async move {
        for message in 0..2_000 {
            hub.to_room(["a", "nobody's"][message % 2], &0).await.unwrap();
            yield_now().await;
        }
    });
    within("all have come and gone", coming.join_all()).await;
    eventually("nothing is left", || node.history.rooms().is_empty()).await;
    let begun = node.history.begun.load(Ordering::Relaxed);
    assert!(begun > 1_000, "rooms have emptied and begun again: {begun}");
    assert_eq!(node.hub().stats().room_state_panics, 0);
}

#[tokio::test]
async fn state_is_dropped_with_the_last_member_however_the_member_ends() {
    let mut node = Node::of(None).await;
    type End = fn(&Conn<u32>, &mut Option<Client>);
    let ends: [End; 4] = [
        |conn, _| conn.try_leave("r").unwrap(),
        |conn, _| conn.close(),
        |_, client| drop(client.take()),
        |conn, _| conn.hub().try_close(&Target::room("r"), roomcast::CloseCode::NORMAL).unwrap(),
    ];
    for end in ends {
        let (client, conn) = node.server.connect().await;
        let (_other, other) = node.server.connect().await;
        for conn in [&conn, &other] {
            conn.try_join_with("r", || node.history.enter("r").messages).unwrap();
        }
        other.try_leave("r").unwrap();
        other.rooms().await;
        let began = node.history.number("r");
        assert!(began.is_some());
        end(&conn, &mut Some(client));
        eventually("it is dropped", || node.history.number("r").is_none()).await;
    }
}

#[tokio::test]
async fn state_is_dropped_when_its_join_fails_or_the_hub_ends() {
    let history = Arc::new(History::default());
    let builder = Hub::builder().room_state(history.clone()).max_rooms_per_conn(1);
    let mut server = Recorded::<u32>::serve(builder.build().unwrap()).await;
    let (mut client, conn) = server.connect().await;
    conn.try_join_with("a", || history.enter("a").messages).unwrap();
    let message = server.hub.encode(&1).unwrap();
    let refused = conn.try_join_with("b", || {
        history.enter("b");
        [message]
    });
    assert_eq!(refused, Err(JoinError::TooManyRooms { rooms_max: 1 }));
    assert_eq!((history.number("a"), history.number("b")), (Some(0), None));
    conn.try_send(&2).unwrap();
    assert_eq!(client.get::<u32>().await, 2, "neither joined nor told");
    server.hub.shutdown_now();
    eventually("the rooms have emptied", || history.rooms().is_empty()).await;
}

/// A state that records its calls.
#[derive(Default)]
struct Told(Mutex<Vec<(String, Option<u32>)>>);

impl Told {
    fn take(&self) -> Vec<(String, Option<u32>)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl RoomState for Told {
    fn on_publish(&self, room: &str, message: &Encoded) {
        self.0.lock().unwrap().push((room.to_owned(), Some(number(message))));
    }

    fn on_empty(&self, room: &str) {
        self.0.lock().unwrap().push((room.to_owned(), None));
    }
}

fn told<const N: usize>(calls: [(&str, Option<u32>); N]) -> Vec<(String, Option<u32>)> {
    calls.map(|(room, message)| (room.to_owned(), message)).into()
}

#[tokio::test]
async fn state_receives_each_message_to_its_room_once_and_no_other_message() {
    let seen = Arc::new(Told::default());
    let hub = Hub::builder().shards(2).room_state(seen.clone()).build().unwrap();
    let mut server = Recorded::<u32>::serve(hub).await;
    let (_client, conn) = server.connect().await;
    for room in ["a", "b", "c"] {
        conn.try_join(room).unwrap();
    }
    let hub = &server.hub;
    hub.try_broadcast(&1).unwrap();
    hub.try_publish(&Target::conn(conn.id()), &2).unwrap();
    conn.try_send(&3).unwrap();
    assert_eq!(seen.take(), []);
    hub.to_room("a", &4).await.unwrap();
    hub.try_publish(&Target::room("a").except(conn.id()), &5).unwrap();
    hub.publish(&Target::rooms(["c", "b", "c"]), &6).await.unwrap();
    hub.try_publish_encoded(&Target::room("b"), &hub.encode(&7).unwrap()).unwrap();
    let expected = [("a", Some(4)), ("a", Some(5)), ("b", Some(6)), ("c", Some(6)), ("b", Some(7))];
    assert_eq!(seen.take(), told(expected));
    hub.try_publish(&Target::rooms(["a", "nobody's"]), &8).unwrap();
    let expected = [("a", Some(8)), ("nobody's", Some(8)), ("nobody's", None)];
    assert_eq!(seen.take(), told(expected), "empty it is, and stays");
    server.hub.shutdown_now();
    server.hub.try_to_room("a", &9).unwrap_err();
    server.events.ended().await;
    let closed = told([("a", None), ("b", None), ("c", None)]);
    let mut last = seen.take();
    last.sort();
    assert_eq!(last, closed, "a failed publish does not reach the state");
}

#[tokio::test]
async fn state_receives_messages_of_other_nodes_one_by_one() {
    let bus = Local::new();
    let seen = Arc::new(Told::default());
    let builder = || Hub::<u32>::builder().backplane(bus.clone(), "test").plain_channel("plain");
    let here = builder().room_state(seen.clone()).build().unwrap();
    let there = builder().build().unwrap();
    for hub in [&here, &there] {
        eventually("both are up", || hub.cluster().nodes().len() == 2).await;
    }
    // The messages arrive as one batch.
    (1..=300).for_each(|message| there.try_to_room("r", &message).unwrap());
    let mut all = Vec::new();
    eventually("all is told", || {
        all.extend(seen.take());
        all.last().is_some_and(|(_, message)| message.is_none())
            && all.iter().filter(|(_, message)| message.is_some()).count() == 300
    })
    .await;
    let messages: Vec<u32> = all.iter().filter_map(|(_, message)| *message).collect();
    assert!(messages.into_iter().eq(1..=300));
    assert!(all.iter().all(|(room, _)| room == "r"));
    assert_eq!(all.last(), Some(&("r".to_owned(), None)), "nobody is here");
}

#[tokio::test]
async fn panics_of_a_state_are_counted_and_end_no_connection() {
    struct Panicking;

    impl RoomState for Panicking {
        fn on_publish(&self, room: &str, _: &Encoded) {
            assert_ne!(room, "bad", "a test wants this panic");
        }

        fn on_empty(&self, room: &str) {
            assert_ne!(room, "bad", "a test wants this panic");
        }
    }

    let hub = Hub::builder().room_state(Panicking).build().unwrap();
    let mut server = Recorded::<u32>::serve(hub).await;
    let (mut client, conn) = server.connect().await;
    conn.try_join("bad").unwrap();
    conn.try_join("good").unwrap();
    server.hub.try_publish(&Target::rooms(["bad", "good"]), &1).unwrap();
    assert_eq!(client.get::<u32>().await, 1);
    assert_eq!(server.hub.stats().room_state_panics, 1);
    conn.try_leave("bad").unwrap();
    eventually("both are counted", || server.hub.stats().room_state_panics == 2).await;
    server.hub.try_to_room("good", &2).unwrap();
    assert_eq!(client.get::<u32>().await, 2);
    assert_eq!(server.hub.stats().shards_gone, 0);
}

/// A state that publishes inside its callback, which is not allowed.
#[derive(Default)]
struct Meddling(Mutex<Option<Hub<u32>>>);

impl RoomState for Meddling {
    fn on_publish(&self, room: &str, _: &Encoded) {
        let hub = self.0.lock().unwrap().clone();
        match (hub, room) {
            (Some(hub), "to everyone") => hub.try_broadcast(&7).unwrap(),
            (Some(hub), _) => hub.try_to_room("another", &8).unwrap(),
            (None, _) => {}
        }
    }
}

#[tokio::test]
async fn publish_inside_a_state_callback_panics_instead_of_a_deadlock() {
    let state = Arc::new(Meddling::default());
    let hub = Hub::builder().room_state(state.clone()).build().unwrap();
    let mut server = Recorded::<u32>::serve(hub.clone()).await;
    *state.0.lock().unwrap() = Some(hub.clone());
    let (mut client, conn) = server.connect().await;
    for message in 0..100 {
        // The publish panics whether or not the two rooms share a lock.
        hub.try_to_room(&format!("room {message}"), &message).unwrap();
    }
    assert_eq!(hub.stats().room_state_panics, 100);
    hub.try_to_room("to everyone", &1).unwrap();
    assert_eq!(client.get::<u32>().await, 7);

    let within_a_join = AssertUnwindSafe(async {
        conn.join_with("r", || {
            conn.try_join("s").unwrap();
            None
        })
        .await
    });
    assert!(within_a_join.catch_unwind().await.is_err());
    assert!(conn.rooms().await.is_empty());
    conn.join("r").await.unwrap();
    assert_eq!(conn.rooms().await, ["r"], "the lock is free again");
    state.0.lock().unwrap().take();
}

#[tokio::test]
async fn first_messages_come_before_room_messages_even_without_a_state() {
    let mut server = Recorded::<u32>::serve(Hub::builder().build().unwrap()).await;
    let (mut client, conn) = server.connect().await;
    let hub = server.hub.clone();
    let first: Vec<Encoded> = [1, 2, 3].iter().map(|it| hub.encode(it).unwrap()).collect();
    hub.try_to_room("r", &0).unwrap();
    conn.join_with("r", || first.clone()).await.unwrap();
    hub.try_to_room("r", &4).unwrap();
    conn.try_join_with("none", || None).unwrap();
    hub.try_to_room("none", &5).unwrap();
    conn.try_join_with("r", || first).unwrap();
    assert_eq!(client.get_many::<u32>(8).await, [1, 2, 3, 4, 5, 1, 2, 3]);
    assert_eq!(hub.member_count("r"), 1);
}

#[tokio::test]
async fn join_with_first_messages_waits_for_space_and_may_be_cancelled() {
    let mut server = Recorded::<String>::serve_tight(Hub::new()).await;
    let (mut client, conn) = server.connect_tight().await;
    // More than half of the queue, plus the bytes that the kernel buffers.
    let filler = "x".repeat(20_000);
    while conn.queued_bytes() < 900_000 {
        conn.try_send(&filler).unwrap();
        conn.rooms().await;
    }
    let first = server.hub.encode(&filler).unwrap();
    let calls = AtomicUsize::new(0);
    let first = || {
        calls.fetch_add(1, Ordering::Relaxed);
        [first.clone()]
    };
    assert!(conn.join_with("r", first).now_or_never().is_none(), "the client has to read");
    assert!(conn.rooms().await.is_empty());
    let joining = conn.join_with("r", first);
    let reading = async {
        loop {
            within("a frame", client.read_frame()).await.unwrap();
        }
    };
    tokio::select! {
        biased;
        joined = within("space", joining) => joined.unwrap(),
        () = reading => {}
    }
    assert_eq!(conn.rooms().await, ["r"]);
    assert!(calls.load(Ordering::Relaxed) >= 3, "each attempt asks anew");
}

#[tokio::test]
async fn states_of_many_rooms_in_one_target_receive_once_each_and_are_dropped_with_their_member() {
    let mut node = Node::of(None).await;
    let (_client, conn) = node.server.connect().await;
    let rooms: Vec<String> = (0..1_000).map(|room| format!("room {room}")).collect();
    for room in &rooms {
        conn.join_with(room, || node.history.enter(room).messages).await.unwrap();
    }
    node.hub().publish(&Target::rooms(rooms), &1).await.unwrap();
    let lengths: HashMap<usize, usize> =
        node.history.rooms().values().fold(HashMap::new(), |mut lengths, kept| {
            *lengths.entry(kept.messages.len()).or_default() += 1;
            lengths
        });
    assert_eq!(lengths, HashMap::from([(1, 1_000)]));
    conn.close();
    eventually("nothing is left", || node.history.rooms().is_empty()).await;
}
