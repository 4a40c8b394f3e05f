//! Rooms that `on_upgrade` names: the connection is a member before its client receives the response.

use std::convert::Infallible;
use std::env;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use roomcast::{
    Close, CloseCode, Conn, DecodeError, DisconnectReason, Handler, Hub, Local, Reject, Response,
    Target, UpgradeRequest,
};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use support::{
    Client, Events, Listening, RawClient, Recorder, eventually, serve, upgrade_request, within,
};

/// A handler that joins the rooms of the query in `on_upgrade`, and records its other calls.
struct Early(Recorder<u32>);

impl Handler<u32> for Early {
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        for room in request.query_all("room") {
            request.join(&room);
        }
        Ok(())
    }

    async fn on_connect(&self, conn: &Conn<u32>) -> Result<(), Close> {
        self.0.on_connect(conn).await
    }

    async fn on_message(&self, conn: &Conn<u32>, message: u32) -> Result<(), Close> {
        self.0.on_message(conn, message).await
    }

    async fn on_decode_error(&self, conn: &Conn<u32>, error: DecodeError) -> Result<(), Close> {
        self.0.on_decode_error(conn, error).await
    }

    async fn on_disconnect(
        &self,
        conn: &Conn<u32>,
        reason: &DisconnectReason,
    ) -> Result<(), Close> {
        self.0.on_disconnect(conn, reason).await
    }
}

async fn early(hub: &Hub<u32>) -> (Listening, Events<u32>) {
    let (recorder, events) = Recorder::new();
    (serve(hub.handle(Early(recorder))).await, events)
}

/// The head of the response to a handshake, in lower case.
async fn answer_to(server: &Listening, path: &str) -> String {
    let mut client = RawClient::open(server.addr).await;
    client.send(upgrade_request(path).as_bytes()).await;
    client.read_head().await.to_ascii_lowercase()
}

async fn status_of(server: &Listening, path: &str) -> String {
    let head = answer_to(server, path).await;
    head.split(' ').nth(1).expect("a status").to_owned()
}

/// A response that the server has not sent yet.
struct Held {
    response: Response,
    exit: oneshot::Sender<Response>,
}

impl Held {
    fn let_go(self) {
        self.exit.send(self.response).expect("the client waits");
    }
}

/// A server that holds the response to each handshake until the test releases it.
struct Holding {
    hub: Hub<u32>,
    events: Events<u32>,
    addr: SocketAddr,
    held: mpsc::UnboundedReceiver<Held>,
    task: JoinHandle<()>,
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Holding {
    async fn serve(hub: Hub<u32>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let (recorder, events) = Recorder::new();
        let (sender, held) = mpsc::unbounded_channel();
        let endpoint = hub.handle(Early(recorder));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a client");
                let (endpoint, sender) = (endpoint.clone(), sender.clone());
                let service = service_fn(move |request| {
                    let (endpoint, sender) = (endpoint.clone(), sender.clone());
                    async move {
                        let Ok(response) = hyper::service::Service::call(&endpoint, request).await;
                        let (exit, door) = oneshot::channel();
                        sender.send(Held { response, exit }).expect("the test listens");
                        let replaced = || Response::default();
                        Ok::<_, Infallible>(door.await.unwrap_or_else(|_| replaced()))
                    }
                });
                let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(serving.with_upgrades());
            }
        });
        Self { hub, events, addr, held, task }
    }

    /// A client that waits for its response, and the held response.
    async fn knock(&mut self, path: &'static str) -> (JoinHandle<Client>, Held) {
        let client = tokio::spawn(Client::connect(self.addr, path));
        (client, self.held().await)
    }

    async fn held(&mut self) -> Held {
        within("a response", self.held.recv()).await.expect("the server runs")
    }
}

async fn opened(client: JoinHandle<Client>, held: Held) -> Client {
    held.let_go();
    client.await.expect("it connects")
}

/// A handler that joins in `on_connect`, which is too late: the client already has its response.
struct Late;

impl Handler<u32> for Late {
    async fn on_connect(&self, conn: &Conn<u32>) -> Result<(), Close> {
        conn.join(&conn.query("room").unwrap_or_default()).await?;
        Ok(())
    }
}

/// The number of rounds in which a client misses a message that is published after its connect returned.
async fn missed(hub: &Hub<u32>, server: &Listening, rounds: u32) -> u32 {
    let mut missed = 0;
    for round in 0..rounds {
        let room = format!("r{round}");
        let mut client = Client::connect(server.addr, &format!("/ws?room={room}")).await;
        hub.try_to_room(&room, &round).expect("the hub is idle");
        within("it is a member", async { while hub.members(&room).await.is_empty() {} }).await;
        hub.try_to_room(&room, &u32::MAX).expect("the hub is idle");
        missed += u32::from(client.get::<u32>().await != round);
    }
    missed
}

/// `ROOMCAST_ROUNDS` sets the number of rounds; the default is 300. If the variable is set, the test also prints in
/// how many rounds a client that joins in `on_connect` misses a message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_misses_no_message_that_is_published_after_its_connect_returned() {
    let rounds = env::var("ROOMCAST_ROUNDS").ok().map(|rounds| rounds.parse().expect("a number"));
    let hub = Hub::new();
    let (server, _events) = early(&hub).await;
    let early = missed(&hub, &server, rounds.unwrap_or(300)).await;
    if let Some(rounds) = rounds {
        let server = serve(hub.handle(Late)).await;
        let late = missed(&hub, &server, rounds).await;
        println!("missed of {rounds}: {early}, and {late} by who joins in on_connect");
    }
    assert_eq!(early, 0);
}

#[tokio::test]
async fn connection_is_counted_and_a_member_before_its_response_leaves() {
    let mut server = Holding::serve(Hub::builder().shards(3).build().unwrap()).await;
    let hub = server.hub.clone();
    let (client, held) = server.knock("/ws?room=a&room=b&room=a").await;
    assert_eq!((hub.count(), hub.member_count("a"), hub.member_count("b")), (1, 1, 1));
    let members = hub.members("a").await;
    assert!(server.events.pending().is_none(), "it is not open");
    members[0].try_send(&7).unwrap();
    let mut client = opened(client, held).await;
    assert_eq!(client.get::<u32>().await, 7);
    let conn = server.events.open().await;
    assert_eq!(members, std::slice::from_ref(&conn));
    let mut rooms = conn.rooms().await;
    rooms.sort_unstable();
    assert_eq!(rooms, ["a", "b"]);
    conn.leave("a").await.unwrap();
    assert_eq!(conn.rooms().await, ["b"]);
    assert_eq!((hub.stats().connections, hub.stats().connected), (1, 1));
}

#[tokio::test]
async fn messages_before_the_response_come_first_and_in_order() {
    let mut server = Holding::serve(Hub::new()).await;
    let (client, held) = server.knock("/ws?room=a&room=b").await;
    for number in 0..200 {
        match number % 3 {
            0 => server.hub.try_to_room("a", &number).unwrap(),
            1 => server.hub.try_to_room("b", &number).unwrap(),
            _ => server.hub.try_broadcast(&number).unwrap(),
        }
        if number % 50 == 0 {
            // When the shard has answered, it has processed all commands.
            server.hub.members("a").await;
        }
    }
    let mut client = opened(client, held).await;
    for number in 200..300 {
        server.hub.try_to_room("a", &number).unwrap();
    }
    assert!(client.get_many::<u32>(300).await.into_iter().eq(0..300));
    server.events.open().await;
    assert_eq!(server.hub.stats().dropped(), 0);
}

#[tokio::test]
async fn client_whose_queue_overflows_before_the_response_is_evicted_with_a_close_frame() {
    let hub = Hub::builder().send_buffer_bytes(1_000).build().unwrap();
    let mut server = Holding::serve(hub).await;
    let hub = server.hub.clone();
    let (client, held) = server.knock("/ws?room=r").await;
    for number in 0..1_000 {
        hub.try_to_room("r", &number).unwrap();
    }
    eventually("the eviction", || hub.stats().evicted_full == 1).await;
    assert_eq!((hub.count(), hub.member_count("r")), (0, 0));
    let mut client = opened(client, held).await;
    assert_eq!(client.closed().await.0, 1008);
    server.events.open().await;
    let (_, reason) = server.events.ended().await;
    assert!(matches!(reason, DisconnectReason::SlowClient { .. }), "{reason}");
}

/// Asserts that nothing is left of a connection whose handshake was accepted and then failed.
async fn assert_gone(server: &mut Holding) {
    let hub = server.hub.clone();
    eventually("it is counted", || hub.stats().upgrades_failed == 1).await;
    eventually("it has gone", || hub.count() == 0 && hub.member_count("r") == 0).await;
    let stats = hub.stats();
    assert_eq!((stats.connected, stats.disconnected, stats.blocked), (1, 1, 0));
    assert_eq!((stats.rooms, stats.dropped_at_end), (0, 1));
    assert!(server.events.pending().is_none(), "the handler is told nothing");
    hub.shutdown_now();
    within("the end", hub.closed()).await;
}

#[tokio::test]
async fn connection_whose_client_vanishes_before_the_response_leaves_its_rooms() {
    let mut server = Holding::serve(Hub::new()).await;
    let mut client = RawClient::open(server.addr).await;
    client.send(upgrade_request("/ws?room=r").as_bytes()).await;
    let _held = server.held().await;
    server.hub.try_to_room("r", &1).unwrap();
    drop(client);
    assert_gone(&mut server).await;
}

#[tokio::test]
async fn connection_whose_response_does_not_leave_in_time_leaves_its_rooms() {
    let timeout = Duration::from_millis(200);
    let hub = Hub::builder().upgrade_timeout(timeout).build().unwrap();
    let mut server = Holding::serve(hub).await;
    let (_client, _held) = server.knock("/ws?room=r").await;
    server.hub.try_to_room("r", &1).unwrap();
    assert_gone(&mut server).await;
}

#[tokio::test]
async fn rooms_out_of_bounds_refuse_the_handshake() {
    let hub = Hub::builder().max_rooms_per_conn(2).max_room_name_bytes(3).max_rooms(2);
    let hub = hub.shards(1).build().unwrap();
    let (server, mut events) = early(&hub).await;
    assert_eq!(status_of(&server, "/ws?room=a&room=b&room=c").await, "400");
    assert_eq!(status_of(&server, "/ws?room=long").await, "400");
    assert_eq!((hub.stats().connected, hub.stats().refused_for_rooms), (0, 2));
    let _client = Client::connect(server.addr, "/ws?room=a&room=b&room=a").await;
    let head = answer_to(&server, "/ws?room=a&room=c").await;
    assert!(head.starts_with("http/1.1 503 ") && head.contains("retry-after: "), "{head}");
    eventually("it has gone", || hub.count() == 1 && hub.member_count("a") == 1).await;
    assert_eq!((hub.stats().refused_for_rooms, hub.stats().room_refusals), (3, 1));
    events.open().await;
    assert!(events.pending().is_none());
}

#[tokio::test]
async fn close_before_the_response_comes_behind_what_was_sent_before() {
    let mut server = Holding::serve(Hub::new()).await;
    let hub = server.hub.clone();
    let (client, held) = server.knock("/ws?room=r&room=s").await;
    hub.try_to_room("s", &1).unwrap();
    hub.try_leave(&Target::room("r"), "s").unwrap();
    hub.try_to_room("s", &2).unwrap();
    hub.try_to_room("r", &3).unwrap();
    hub.try_close(&Target::room("r"), Close::new(CloseCode::from(4_001), "enough")).unwrap();
    hub.try_broadcast(&4).unwrap();
    eventually("it has ended", || hub.count() == 0).await;
    let mut client = opened(client, held).await;
    assert_eq!(client.get_many::<u32>(2).await, [1, 3]);
    assert_eq!(client.closed().await, (4_001, "enough".to_owned()));
    let conn = server.events.open().await;
    assert!(conn.is_closed());
    server.events.ended().await;
}

#[tokio::test]
async fn hub_that_shuts_down_before_the_response_sends_the_client_a_close_frame() {
    let mut server = Holding::serve(Hub::new()).await;
    let hub = server.hub.clone();
    let (client, held) = server.knock("/ws?room=r").await;
    let shutdown = tokio::spawn(async move { hub.shutdown(Duration::from_secs(60)).await });
    let hub = server.hub.clone();
    eventually("it has ended", || hub.count() == 0).await;
    assert!(!shutdown.is_finished(), "a handshake is under way");
    let mut client = opened(client, held).await;
    assert_eq!(client.closed().await.0, 1001);
    let report = within("the shutdown", shutdown).await.unwrap();
    assert!(report.is_clean() && report.connections == 1, "{report}");
}

#[tokio::test]
async fn connection_that_is_cut_before_the_response_is_closed_when_its_stream_arrives() {
    let mut server = Holding::serve(Hub::new()).await;
    let mut client = RawClient::open(server.addr).await;
    client.send(upgrade_request("/ws?room=r").as_bytes()).await;
    let held = server.held().await;
    let report = within("the deadline", server.hub.shutdown(Duration::from_millis(200))).await;
    assert_eq!((report.unfinished, report.cut), (1, 1));
    held.let_go();
    client.ended().await;
    within("the end", server.hub.closed()).await;
}

/// A hub whose shards run only while the test drives the returned runtime.
fn at_rest(builder: roomcast::Builder<u32>) -> (runtime::Runtime, Hub<u32>) {
    let shards = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let hub = shards.block_on(async { builder.build().expect("in range") });
    (shards, hub)
}

#[test]
fn handshake_waits_for_a_shard_that_is_overloaded_and_is_refused_in_time() {
    let builder = Hub::builder().shards(1).inbox_messages(8);
    let (shards, hub) = at_rest(builder.upgrade_timeout(Duration::from_millis(300)));
    while hub.try_broadcast(&0).is_ok() {}
    let server = runtime::Runtime::new().expect("a runtime");
    server.block_on(async {
        let (listening, _events) = early(&hub).await;
        assert_eq!(status_of(&listening, "/ws?room=r").await, "503");
        assert_eq!(hub.stats().upgrades_failed, 1);
    });
    shards.block_on(eventually("it has gone", || hub.count() == 0));
    assert_eq!(hub.member_count("r"), 0);

    let (shards, hub) = at_rest(Hub::builder().shards(1).inbox_messages(8));
    while hub.try_broadcast(&0).is_ok() {}
    let (listening, _events) = server.block_on(early(&hub));
    let client = server.spawn(Client::connect(listening.addr, "/ws?room=r"));
    shards.block_on(async {
        eventually("it waits", || hub.count() == 1).await;
        eventually("it has joined", || hub.member_count("r") == 1).await;
        within("the handshake", client).await.expect("it connects");
    });
}

#[tokio::test]
async fn messages_of_other_nodes_arrive_as_after_any_join() {
    let bus = Local::new();
    let build = || Hub::<u32>::builder().backplane(bus.clone(), "test").build().unwrap();
    let (here, there) = (build(), build());
    let (server, mut events) = early(&here).await;
    let mut client = Client::connect(server.addr, "/ws?room=r").await;
    let conn = events.open().await;
    within("the subscription", conn.join_subscribed("r")).await.unwrap();
    there.to_room("r", &7).await.unwrap();
    assert_eq!(client.get::<u32>().await, 7);
}
