//! More clients than the server has descriptors.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt, future};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::crowd::{Client, connect, next_line};
use crate::oracle::{Ledger, Line};
use crate::programs::example;
use crate::raise_descriptor_limit;
use crate::server::{DEADLINE, Server};

/// How long the server is watched while it has none left.
const EXHAUSTED: Duration = Duration::from_secs(3);

/// The most of that time that it may be at work.
const BUSY_MAX: f64 = 0.1;

/// A chat that cannot raise its limit.
async fn limited_chat(descriptors: usize) -> Server {
    let script = format!("ulimit -n {descriptors}; exec \"$0\" --listen 127.0.0.1:0");
    Server::start(Command::new("bash").arg("-c").arg(script).arg(example("chat"))).await
}

/// Waits to be served, tells so, and listens until the first line or the end of the wait.
async fn wait_to_be_served(
    server: std::net::SocketAddr,
    served: watch::Sender<usize>,
    mut go: watch::Receiver<bool>,
) {
    let mut client = connect(server, "crowd").await;
    served.send_modify(|count| *count += 1);
    let mut ledger = Ledger::new("crowd");
    if !*go.borrow() {
        let line = timeout(DEADLINE, next_line(&mut client)).await.expect("a line comes");
        ledger.note(&line.expect("it is not closed"));
    }
    go.wait_for(|go| *go).await.expect("they are told");
    client.close(None).await.expect("it can say so");
    while let Some(line) = next_line(&mut client).await {
        ledger.note(&line);
    }
}

async fn say(client: &mut Client) {
    let user = "crowd/first".to_owned();
    let line = Line { text: "all there?".to_owned(), user, seq: 0, ts: 0.0 };
    let line = simd_json::to_string(&line).expect("encodable");
    client.send(Message::text(line)).await.expect("connected");
    next_line(client).await.expect("it hears itself");
}

async fn exhaust(descriptors: usize, dialling: usize) {
    raise_descriptor_limit();
    let server = limited_chat(descriptors).await;
    let mut first = connect(server.addr(), "crowd").await;
    let (served, count) = watch::channel(0);
    let (go, told) = watch::channel(false);
    let client = |_| tokio::spawn(wait_to_be_served(server.addr(), served.clone(), told.clone()));
    let clients: Vec<_> = (0..dialling).map(client).collect();
    let busy = watch_exhausted(&server, descriptors).await;
    let room_for = *count.borrow();
    println!(
        "{dialling} dial where {descriptors} descriptors are: {room_for} served, {:.1} % of a core",
        busy * 100.0
    );
    assert!(busy <= BUSY_MAX, "it spins: {:.0} % of a core", busy * 100.0);
    assert!((descriptors / 2..descriptors).contains(&room_for), "{room_for} are served");

    say(&mut first).await;
    let began = Instant::now();
    go.send_replace(true);
    let all = timeout(DEADLINE, future::try_join_all(clients)).await;
    all.expect("all are served when there is room").expect("and want nothing");
    println!("the other {} served in {:.1?}", dialling - room_for, began.elapsed());
    first.close(None).await.expect("it can say so");
    while first.next().await.is_some() {}
    server.nothing_is_left().await;
}

/// Waits until the server has no descriptor left; tells which part of the time that follows it is at
/// work.
async fn watch_exhausted(server: &Server, descriptors: usize) -> f64 {
    let deadline = Instant::now() + DEADLINE;
    while server.descriptors() < descriptors {
        assert!(Instant::now() < deadline, "it runs out of descriptors");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = server.cpu();
    tokio::time::sleep(EXHAUSTED).await;
    (server.cpu() - before).as_secs_f64() / EXHAUSTED.as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn server_without_descriptors_serves_those_it_has_and_does_not_spin() {
    exhaust(64, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a thousand clients"]
async fn server_of_200_descriptors_outlives_a_thousand_clients() {
    exhaust(200, 1_000).await;
}
