//! Shards that run on threads of their own.

use std::fs;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use roomcast::{Close, Conn, Handler, Hub, RoomState, Shutdown};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::Message;

use support::{Client, Listening, Recorded, end_runtime, eventually, other_runtime, serve, within};

/// The tests that look at the threads of this process run one at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The names of the threads of all shards in this process, sorted.
fn shard_threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("on Linux");
    // A thread may end between the two calls.
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
    let names = tasks.filter_map(|task| name(task.expect("a folder")));
    let mut names: Vec<_> = names.filter(|name| name.starts_with("roomcast-")).collect();
    names.iter_mut().for_each(|name| name.truncate(name.trim_end().len()));
    names.sort();
    names
}

/// Returns the number of panics in threads of shards since the first call. Other tests of this process make their
/// handlers panic.
fn shard_panics() -> usize {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    static COUNTING: Once = Once::new();
    COUNTING.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if thread::current().name().is_some_and(|name| name.starts_with("roomcast-")) {
                PANICS.fetch_add(1, Ordering::Relaxed);
            }
            report(panic);
        }));
    });
    PANICS.load(Ordering::Relaxed)
}

/// A thread gets its name when it begins to run.
async fn both_threads_run() {
    eventually("both run", || shard_threads() == ["roomcast-0", "roomcast-1"]).await;
}

async fn all_threads_end() {
    eventually("all threads end", || shard_threads().is_empty()).await;
}

fn hub() -> Hub<String> {
    Hub::builder().shards(2).shard_threads(true).build().expect("threads may start")
}

/// Joins each connection to a room. A message blocks the thread of its handler.
struct Blocking {
    blocked: UnboundedSender<()>,
    /// Ends the block when the sender is dropped.
    released: Mutex<mpsc::Receiver<()>>,
}

impl Handler<String> for Blocking {
    async fn on_connect(&self, conn: &Conn<String>) -> Result<(), Close> {
        Ok(conn.try_join("room")?)
    }

    async fn on_message(&self, _: &Conn<String>, _: String) -> Result<(), Close> {
        self.blocked.send(()).expect("the test waits");
        let _ = self.released.lock().expect("no panic").recv();
        Ok(())
    }
}

#[tokio::test]
async fn handler_that_blocks_all_workers_delays_no_message_of_another_thread() {
    let _alone = ALONE.lock().await;
    let runtime = other_runtime();
    let (hub, server, mut is_blocked, release) = serve_blocking(&runtime, hub).await;
    let mut members = Vec::new();
    for _ in 0..4 {
        members.push(Client::connect(server.addr, "/ws").await);
    }
    eventually("all are members", || hub.member_count("room") == 4).await;
    members[0].send_text(r#""block""#).await;
    within("the block", is_blocked.recv()).await.expect("the handler runs");
    for number in 0..100 {
        let (hub, news) = (hub.clone(), format!("news {number}"));
        let publishing = thread::spawn(move || hub.try_to_room("room", &news));
        publishing.join().expect("no panic").expect("there is space");
        for member in &mut members {
            assert_eq!(member.get::<String>().await, format!("news {number}"));
        }
    }
    drop(release);
    end_runtime(runtime);
}

/// Serves on another runtime, with a handler that blocks the only worker until the sender is dropped.
async fn serve_blocking(
    runtime: &Runtime,
    build: fn() -> Hub<String>,
) -> (Hub<String>, Listening, UnboundedReceiver<()>, mpsc::Sender<()>) {
    let (blocked, is_blocked) = unbounded_channel();
    let (release, released) = mpsc::channel();
    let handler = Blocking { blocked, released: Mutex::new(released) };
    let serving = runtime.spawn(async move {
        let hub = build();
        let server = serve(hub.handle(handler)).await;
        (hub, server)
    });
    let (hub, server) = serving.await.expect("no panic");
    (hub, server, is_blocked, release)
}

#[tokio::test]
async fn client_within_its_rate_is_not_blamed_for_a_blocked_runtime() {
    const BLOCKED: Duration = Duration::from_millis(2_500);
    const MESSAGES: usize = 20;
    let _alone = ALONE.lock().await;
    let runtime = other_runtime();
    let (hub, server, mut is_blocked, release) = serve_blocking(&runtime, || {
        let builder = Hub::<String>::builder().shards(1).shard_threads(true);
        builder.message_rate(10, 5).build().expect("threads may start")
    })
    .await;
    let mut blocking = Client::connect(server.addr, "/ws").await;
    let mut client = Client::connect(server.addr, "/ws").await;
    eventually("both are members", || hub.member_count("room") == 2).await;
    blocking.send_text(r#""block""#).await;
    within("the block", is_blocked.recv()).await.expect("the handler runs");
    for number in 0..MESSAGES {
        client.send_text(format!(r#""{number}""#)).await;
    }
    // The shard works all the time, so it is not late itself.
    let publishing = hub.clone();
    let publish = move || {
        let began = Instant::now();
        while began.elapsed() < BLOCKED {
            publishing.try_to_room("room", &"news".to_owned()).expect("there is space");
            thread::sleep(Duration::from_millis(20));
        }
    };
    tokio::task::spawn_blocking(publish).await.expect("no panic");
    drop(release);
    for number in 0..MESSAGES {
        let handled = within("a message", is_blocked.recv()).await;
        assert_eq!(handled, Some(()), "message {number} is not handled");
    }
    assert_eq!(hub.stats().closed_flooding, 0);
    end_runtime(runtime);
}

#[tokio::test]
async fn each_shard_has_a_thread_until_the_hub_is_dropped() {
    let _alone = ALONE.lock().await;
    let mut server = Recorded::serve(hub()).await;
    both_threads_run().await;
    let (mut client, conn) = server.connect().await;
    client.send_text(r#""hello""#).await;
    let (_, message) = server.events.message().await;
    conn.send(&message).await.expect("the client is there");
    assert_eq!(client.get::<String>().await, "hello");
    drop(client);
    server.events.ended().await;
    drop((conn, server));
    all_threads_end().await;
}

#[tokio::test]
async fn shutdown_closes_the_clients_of_threads_and_the_threads_end() {
    let _alone = ALONE.lock().await;
    let mut server = Recorded::serve(hub()).await;
    both_threads_run().await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(server.connect().await);
    }
    let how = Shutdown::within(Duration::from_secs(60)).spread_over(Duration::from_millis(50));
    let hub = server.hub.clone();
    let shutting_down = tokio::spawn(async move { hub.shutdown(how).await });
    for (mut client, _) in clients {
        let close = client.next().await;
        assert!(matches!(close, Some(Message::Close(Some(_)))), "{close:?}");
        while client.next().await.is_some() {}
    }
    let report = within("the end", shutting_down).await.expect("no panic");
    assert_eq!(report.unfinished, 0, "{report}");
    drop(server);
    all_threads_end().await;
}

#[tokio::test]
async fn hub_of_threads_is_closed_when_its_runtime_ends() {
    let _alone = ALONE.lock().await;
    let panics = shard_panics();
    // Repeated, so that the runtime ends while a shard sleeps and while a shard works.
    for clients in 0..20 {
        let runtime = other_runtime();
        let hub = {
            let _inside = runtime.enter();
            let builder = Hub::<String>::builder().shards(2).shard_threads(true);
            builder.ping_interval(Duration::from_millis(10)).build().expect("threads may start")
        };
        let mut server = Recorded::serve(hub).await;
        let mut connected = Vec::new();
        for _ in 0..clients % 4 {
            connected.push(server.connect().await);
        }
        end_runtime(runtime);
        let hub = &server.hub;
        eventually("the hub says that it is closed", || hub.is_closed()).await;
        assert_eq!((hub.stats().shards_gone, hub.count()), (2, 0));
        all_threads_end().await;
    }
    assert_eq!(shard_panics(), panics);
}

#[tokio::test]
async fn threads_end_when_the_hub_and_its_runtime_end_together() {
    let _alone = ALONE.lock().await;
    let runtime = other_runtime();
    let serving = runtime.spawn(async { Recorded::serve(hub()).await });
    let server = serving.await.expect("no panic");
    let client = Client::connect(server.server.addr, "/ws").await;
    eventually("it is connected", || server.hub.count() == 1).await;
    both_threads_run().await;
    drop(server);
    end_runtime(runtime);
    all_threads_end().await;
    drop(client);
}

#[tokio::test]
async fn thread_of_a_shard_sends_pings() {
    let _alone = ALONE.lock().await;
    let builder = Hub::<String>::builder().shards(1).shard_threads(true);
    let hub = builder.ping_interval(Duration::from_millis(50)).build().expect("in range");
    let mut server = Recorded::serve(hub).await;
    let (mut client, _) = server.connect().await;
    for _ in 0..3 {
        let ping = client.next().await;
        assert!(matches!(ping, Some(Message::Ping(_))), "{ping:?}");
    }
}

/// Tells of an empty room from a task that needs the sockets of the runtime. Also tells the name of the thread that
/// has called it.
struct Reporting(tokio::sync::mpsc::UnboundedSender<(String, Option<String>)>);

impl RoomState for Reporting {
    fn on_empty(&self, room: &str) {
        let told = (room.to_owned(), thread::current().name().map(str::to_owned));
        let sender = self.0.clone();
        tokio::spawn(async move {
            TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            sender.send(told).expect("the test waits");
        });
    }
}

#[tokio::test]
async fn room_state_that_a_thread_calls_spawns_tasks_on_the_runtime() {
    let _alone = ALONE.lock().await;
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let builder = Hub::<String>::builder().shards(1).shard_threads(true);
    let hub = builder.room_state(Reporting(sender)).build().expect("threads may start");
    let mut server = Recorded::serve(hub).await;
    let (_client, conn) = server.connect().await;
    conn.join("room").await.expect("there is space");
    conn.leave("room").await.expect("the connection is open");
    let told = within("a report", told.recv()).await;
    assert_eq!(told, Some(("room".to_owned(), Some("roomcast-0".to_owned()))));
}
