//! A server with few file descriptors. It runs in a process of its own, because the limit is per process.
#![cfg(target_os = "linux")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use support::programs::{Chat, example};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// The descriptors of a server: for itself, and for some clients.
const DESCRIPTORS: usize = 200;

/// The clients that connect: more than the server has descriptors for.
const CLIENTS: usize = 230;

const DEADLINE: Duration = Duration::from_secs(20);

/// Starts an example that cannot raise its limit.
fn limited(name: &str) -> Chat {
    let script = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" --listen 127.0.0.1:0");
    let mut command = Command::new("bash");
    let command = command.arg("-c").arg(script).arg(example(name));
    Chat::start(command).expect("the example starts")
}

fn open_descriptors(chat: &Chat) -> usize {
    let folder = format!("/proc/{}/fd", chat.process.0.id());
    fs::read_dir(folder).expect("the process runs").count()
}

async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, holds).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// Connects this many clients. Returns the accepted clients, and the number of refused clients.
async fn knock(
    chat: &Chat,
    path: &str,
    clients: usize,
) -> (Vec<WebSocketStream<TcpStream>>, usize) {
    let (mut inside, mut refused) = (Vec::new(), 0);
    for _ in 0..clients {
        let stream = TcpStream::connect(chat.addr).await.expect("the server listens");
        let url = format!("ws://{}{path}", chat.addr);
        match timeout(DEADLINE, client_async(url, stream)).await.expect("an answer at once") {
            Ok((client, _)) => inside.push(client),
            Err(Error::Http(response)) => {
                assert_eq!(response.status(), 503);
                assert!(response.headers().contains_key("retry-after"));
                refused += 1;
            }
            Err(error) => panic!("neither accepted nor refused: {error}"),
        }
    }
    (inside, refused)
}

/// Requests a page. Returns the status and the whole response.
async fn get(chat: &Chat, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(chat.addr).await.expect("the server listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut response = String::new();
    let read = timeout(DEADLINE, stream.read_to_string(&mut response)).await;
    read.expect("an answer at once").expect("a whole one");
    let status = response.get(9..12).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status: {response}")), response)
}

#[tokio::test]
async fn server_short_of_descriptors_answers_503_to_handshakes_and_serves_other_requests() {
    let echo = limited("echo");
    let (mut inside, refused) = knock(&echo, "/", CLIENTS).await;
    assert_eq!(inside.len() + refused, CLIENTS);
    assert!(
        inside.len() > DESCRIPTORS / 2 && refused >= CLIENTS - DESCRIPTORS,
        "{refused} refused"
    );
    // A request that is not a handshake.
    assert_eq!(get(&echo, "/").await.0, 426);
    for client in &mut inside {
        client.send(Message::text("hello")).await.expect("sent");
        let echo = timeout(DEADLINE, client.next()).await.expect("in time");
        assert_eq!(echo.expect("an answer").expect("intact"), Message::text("hello"));
    }
    let before = inside.len();
    inside.truncate(before - 10);
    eventually("as many clients are accepted as have left", async || {
        let (more, _) = knock(&echo, "/", 1).await;
        inside.extend(more);
        inside.len() == before
    })
    .await;
}

#[tokio::test]
async fn server_short_of_descriptors_refuses_silent_clients() {
    let chat = limited("load_server");
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(TcpStream::connect(chat.addr).await.expect("the server listens"));
    }
    // The last client has sent nothing, either.
    let mut answer = [0; 12];
    let last = clients.last_mut().expect("there are some");
    timeout(DEADLINE, last.read_exact(&mut answer)).await.expect("in time").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 503");
    assert!(open_descriptors(&chat) < DESCRIPTORS);
    drop(clients);
    eventually("the next client is accepted", async || knock(&chat, "/ws/room", 1).await.1 == 0)
        .await;
}
