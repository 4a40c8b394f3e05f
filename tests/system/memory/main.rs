//! A server with little memory, in a process of its own, because the limit is per process or per container.
#![cfg(target_os = "linux")]

mod cgroup;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use cgroup::Cgroup;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use support::programs::{Chat, example};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// The memory of the container.
const MEMORY: u64 = 64 << 20;

/// The address space of the process if there is no container.
const ADDRESSES: u64 = 112 << 20;

/// The clients that do not read, and the messages that each client sends. The messages come back to the client: more
/// than the queue of one client holds.
const CLIENTS: usize = 150;
const MESSAGES: usize = 24;
const MESSAGE_BYTES: usize = 60_000;

/// The kernel buffers little for a client, so that the hub must queue.
const SOCKET_BYTES: u32 = 16 * 1024;

const DEADLINE: Duration = Duration::from_secs(60);

/// Starts a chat without rate limits; the shell runs `before` first.
fn chat(before: &str) -> Chat {
    let flags = "--listen 127.0.0.1:0 --threads 2 --message-rate 0 --byte-rate 0";
    let script = format!("{before}; exec \"$0\" {flags} --socket-send-buffer {SOCKET_BYTES}");
    Chat::start(Command::new("bash").arg("-c").arg(script).arg(example("load_server")))
        .expect("the load server starts")
}

async fn connect(addr: SocketAddr, room: &str) -> WebSocketStream<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a descriptor is left");
    socket.set_recv_buffer_size(SOCKET_BYTES).expect("a size");
    let stream = socket.connect(addr).await.expect("the server listens");
    client_async(format!("ws://{addr}/ws/{room}"), stream).await.expect("the server accepts").0
}

fn text(bytes: usize) -> Message {
    Message::text(format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes)))
}

/// Sends without reading. A send may fail because the server has already closed the connection.
async fn flood(mut client: WebSocketStream<TcpStream>) -> WebSocketStream<TcpStream> {
    let message = text(MESSAGE_BYTES);
    for _ in 0..MESSAGES {
        if client.send(message.clone()).await.is_err() {
            break;
        }
    }
    client
}

/// Connects all clients before the first client sends.
async fn flood_by_many(addr: SocketAddr) -> Vec<WebSocketStream<TcpStream>> {
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        clients.push(connect(addr, &format!("room-{client}")).await);
    }
    clients.into_iter().map(flood).collect::<JoinSet<_>>().join_all().await
}

async fn evictions(addr: SocketAddr) -> u64 {
    let mut stream = TcpStream::connect(addr).await.expect("the server listens");
    let request = "GET /stats HTTP/1.1\r\nhost: chat\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("answered");
    let (_, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    let counters: Value = serde_json::from_str(body).expect("counters");
    let stats = roomcast::Stats::deserialize(&counters["hub"]).expect("counters of a hub");
    stats.evictions()
}

/// Checks that all clients that do not read are evicted, and that others are served.
async fn survives(mut chat: Chat) {
    let evicted = async {
        let _clients = flood_by_many(chat.addr).await;
        while evictions(chat.addr).await < CLIENTS as u64 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, evicted).await.expect("all are evicted in time");
    assert!(chat.process.0.try_wait().expect("it is ours").is_none(), "the process lives");
    let mut client = connect(chat.addr, "room-0").await;
    client.send(text(5)).await.expect("sent");
    let answer = timeout(DEADLINE, client.next()).await.expect("in time");
    assert_eq!(answer.expect("an answer").expect("intact"), text(5));
}

#[tokio::test]
async fn container_of_64_mib_survives_many_clients_that_do_not_read() {
    match Cgroup::with_memory(MEMORY) {
        Ok(group) => {
            let enter = format!("echo $$ > {}", group.processes().display());
            survives(chat(&enter)).await;
        }
        Err(error) => eprintln!("no control group can be made here: {error}"),
    }
}

#[tokio::test]
async fn hub_whose_threads_find_no_memory_is_not_built() {
    let flags = "--listen 127.0.0.1:0 --threads 2 --shards 1024 --shard-threads";
    let limit = ADDRESSES / 1024;
    let script = format!("export MALLOC_ARENA_MAX=1; ulimit -v {limit}; exec \"$0\" {flags}");
    let mut command = tokio::process::Command::new("bash");
    let command = command.arg("-c").arg(script).arg(example("load_server")).kill_on_drop(true);
    let output = timeout(DEADLINE, command.output()).await.expect("it ends in time");
    let error = String::from_utf8_lossy(&output.expect("bash starts").stderr).into_owned();
    assert!(error.contains("ShardThread") && !error.contains("panicked"), "{error}");
}

#[tokio::test]
async fn process_with_little_address_space_survives_many_clients_that_do_not_read() {
    // Without this setting, the allocator of glibc reserves 64 MiB of addresses for a second thread, if it
    // finds them.
    let before = format!("export MALLOC_ARENA_MAX=1; ulimit -v {}", ADDRESSES / 1024);
    survives(chat(&before)).await;
}
