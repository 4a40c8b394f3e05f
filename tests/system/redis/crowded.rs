//! A chat that is full of clients keeps descriptors for its Redis connections.

use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;

use support::programs::{Chat, example};
use support::servers::RedisServer;
use support::{Client, within};

const DESCRIPTORS: usize = 200;

/// The clients that connect: more than the server has descriptors for.
const CLIENTS: usize = 230;

/// A chat that cannot raise its limit.
fn limited_chat(redis: &RedisServer) -> Chat {
    let script = format!("ulimit -n {DESCRIPTORS}; exec \"$@\"");
    let mut command = Command::new("bash");
    let command = command.args(["-c", &script, "bash"]).arg(example("load_server"));
    Chat::start(command.args(["--listen", "127.0.0.1:0", "--redis", &redis.url()]))
        .expect("the chat starts")
}

/// The response of `/healthz`.
async fn health(chat: &Chat) -> String {
    let mut stream = TcpStream::connect(chat.addr).await.expect("the server listens");
    let request = b"GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut response = String::new();
    within("an answer", stream.read_to_string(&mut response)).await.expect("a whole one");
    response
}

async fn backplane_is(chat: &Chat, state: &str) {
    let state = format!(r#""state":"{state}""#);
    within("the state of the backplane", async {
        while !health(chat).await.contains(&state) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Connects this many clients. Returns the accepted clients; the others get 503.
async fn knock(chat: &Chat, clients: usize) -> Vec<Client> {
    let mut inside = Vec::new();
    for _ in 0..clients {
        match Client::try_connect(chat.addr, "/ws/room").await {
            Ok(client) => inside.push(client),
            Err(Error::Http(response)) => assert_eq!(response.status(), 503),
            Err(error) => panic!("neither accepted nor refused: {error}"),
        }
    }
    inside
}

#[tokio::test]
async fn chat_full_of_clients_reconnects_to_its_redis() {
    let mut redis = RedisServer::start();
    let chat = limited_chat(&redis);
    backplane_is(&chat, "up").await;
    let inside = knock(&chat, CLIENTS).await;
    assert!(inside.len() > DESCRIPTORS / 2, "{} are in", inside.len());
    redis.kill();
    backplane_is(&chat, "down").await;
    // Waiting clients must not take the descriptors of the Redis connections.
    assert_eq!(knock(&chat, CLIENTS - inside.len()).await.len(), 0);
    redis.restart();
    backplane_is(&chat, "up").await;
    assert!(health(&chat).await.starts_with("HTTP/1.1 200 "));
}
