//! A server that runs out of descriptors, in a process of its own: the limit is a process's.
#![cfg(target_os = "linux")]

mod programs;

use std::fs;
use std::process::Command;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use programs::{Chat, example};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

/// Descriptors that the server has: its own, and some for clients.
const DESCRIPTORS: usize = 64;

const DEADLINE: Duration = Duration::from_secs(20);

/// A chat that cannot raise its limit.
fn limited_chat() -> Chat {
    let script = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" --listen 127.0.0.1:0");
    Chat::start(Command::new("bash").arg("-c").arg(script).arg(example("chat")))
        .expect("the chat example starts")
}

fn open_descriptors(chat: &Chat) -> usize {
    let folder = format!("/proc/{}/fd", chat.process.0.id());
    fs::read_dir(folder).expect("the process runs").count()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, holds).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

#[tokio::test]
async fn server_that_ran_out_of_descriptors_serves_again_when_there_are_some() {
    let chat = limited_chat();
    let mut clients = Vec::new();
    for _ in 0..2 * DESCRIPTORS {
        clients.push(TcpStream::connect(chat.addr).await.expect("the kernel takes them all"));
    }
    eventually("no descriptor is left", || open_descriptors(&chat) >= DESCRIPTORS).await;
    drop(clients);
    eventually("they are given back", || open_descriptors(&chat) < DESCRIPTORS / 2).await;

    let talk = async {
        let stream = TcpStream::connect(chat.addr).await.expect("it listens");
        let url = format!("ws://{}/ws/room", chat.addr);
        let (mut client, _) = client_async(url, stream).await.expect("it accepts");
        client.send(Message::text(r#"{"text":"hello"}"#)).await.expect("sent");
        client.next().await.expect("an answer").expect("intact")
    };
    let answer = timeout(DEADLINE, talk).await.expect("served in time");
    assert_eq!(answer.to_text().expect("text"), r#"{"text":"hello"}"#);
}
