//! More clients than the server has descriptors.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt, future};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::raise_descriptor_limit;
use support::programs::example;
use support::scene::crowd::{Client, connect, next_line, try_connect};
use support::scene::oracle::{Ledger, Line};
use support::scene::server::{DEADLINE, Server};

/// The time for which the server is watched while all of its descriptors are in use.
const EXHAUSTED: Duration = Duration::from_secs(3);

/// The largest part of this time that the server may use the CPU.
const BUSY_MAX: f64 = 0.1;

/// Starts a chat that cannot raise its limit of descriptors.
async fn limited_chat(descriptors: usize) -> Server {
    let script = format!("ulimit -n {descriptors}; exec \"$0\" --listen 127.0.0.1:0");
    Server::start(Command::new("bash").arg("-c").arg(script).arg(example("load_server"))).await
}

/// The numbers of clients that were served and that were refused.
#[derive(Debug, Default)]
struct Answered {
    served: usize,
    refused: usize,
}

/// Runs a client. If it is refused, it connects again after the signal `go`. It receives until `go`.
async fn insist(
    server: std::net::SocketAddr,
    answered: watch::Sender<Answered>,
    mut go: watch::Receiver<bool>,
) {
    let mut client = match try_connect(server, "crowd").await {
        Ok(client) => {
            answered.send_modify(|answered| answered.served += 1);
            client
        }
        Err(error) => {
            assert_refused(&error);
            answered.send_modify(|answered| answered.refused += 1);
            go.wait_for(|go| *go).await.expect("the test sends the signal");
            until_served(server).await
        }
    };
    let mut ledger = Ledger::new("crowd");
    if !*go.borrow() {
        let line = timeout(DEADLINE, next_line(&mut client)).await.expect("a line comes");
        ledger.note(&line.expect("the connection is not closed"));
    }
    go.wait_for(|go| *go).await.expect("the test sends the signal");
    client.close(None).await.expect("the client can send a close");
    while let Some(line) = next_line(&mut client).await {
        ledger.note(&line);
    }
}

async fn until_served(server: std::net::SocketAddr) -> Client {
    loop {
        match try_connect(server, "crowd").await {
            Ok(client) => return client,
            Err(error) => assert_refused(&error),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn assert_refused(error: &Error) {
    let Error::Http(response) = error else { panic!("neither served nor refused: {error}") };
    assert_eq!(response.status(), 503);
}

async fn say(client: &mut Client) {
    let user = "crowd/first".to_owned();
    let line = Line { text: "all there?".to_owned(), user, seq: 0, ts: 0.0 };
    let line = simd_json::to_string(&line).expect("encodable");
    client.send(Message::text(line)).await.expect("connected");
    next_line(client).await.expect("the client receives its own message");
}

async fn exhaust(descriptors: usize, dialling: usize) {
    raise_descriptor_limit();
    let server = limited_chat(descriptors).await;
    let mut first = connect(server.addr(), "crowd").await;
    let (answered, mut answers) = watch::channel(Answered::default());
    let (go, told) = watch::channel(false);
    let client = |_| tokio::spawn(insist(server.addr(), answered.clone(), told.clone()));
    let clients: Vec<_> = (0..dialling).map(client).collect();
    let all = answers.wait_for(|answered| answered.served + answered.refused == dialling);
    let served = timeout(DEADLINE, all).await.expect("an answer for each").expect("alive").served;
    let busy = part_at_work(&server).await;
    println!(
        "{dialling} dial where {descriptors} descriptors are: {served} served, {:.1} % of a core",
        busy * 100.0
    );
    assert!(busy <= BUSY_MAX, "the server spins: {:.0} % of a core", busy * 100.0);
    assert!((descriptors / 2..descriptors).contains(&served), "{served} are served");

    say(&mut first).await;
    let began = Instant::now();
    go.send_replace(true);
    let all = timeout(DEADLINE, future::try_join_all(clients)).await;
    all.expect("all are served when descriptors are free").expect("no client panics");
    println!("the other {} served in {:.1?}", dialling - served, began.elapsed());
    first.close(None).await.expect("the client can send a close");
    while first.next().await.is_some() {}
    server.nothing_is_left().await;
}

/// Watches the server, and returns the part of the time that it uses the CPU.
async fn part_at_work(server: &Server) -> f64 {
    let before = server.cpu();
    tokio::time::sleep(EXHAUSTED).await;
    (server.cpu() - before).as_secs_f64() / EXHAUSTED.as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn server_without_descriptors_serves_its_clients_and_does_not_spin() {
    exhaust(64, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a thousand clients"]
async fn server_with_200_descriptors_survives_a_thousand_clients() {
    exhaust(200, 1_000).await;
}
