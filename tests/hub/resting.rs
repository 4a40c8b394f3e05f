//! Sessions of quiet clients, which have no task.

use std::time::Duration;

use futures_util::StreamExt;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use roomcast::Hub;
use tokio::runtime::Handle;
use tokio_tungstenite::tungstenite::Message;

use support::{Client, Recorded, Recorder, end_runtime, eventually, other_runtime, within};

const CLIENTS: usize = 32;

/// More tasks than the hub and its server have without clients, and fewer than one for each client.
const FEW: usize = CLIENTS / 2;

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

fn hub() -> Hub<u32> {
    Hub::builder().shards(2).ping_interval(Duration::ZERO).build().unwrap()
}

/// Sends what a client answers to a ping.
async fn send_pong(client: &mut Client) {
    client.send(Message::Pong(Vec::new().into())).await;
}

#[tokio::test]
async fn session_is_a_task_only_while_its_client_is_active() {
    let mut server = Recorded::serve(hub()).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(server.connect().await.0);
    }
    eventually("new sessions rest", || tasks() < FEW).await;
    for _ in 0..3 {
        for client in &mut clients {
            client.send_text("1").await;
            server.events.message().await;
        }
        assert!(tasks() >= CLIENTS, "a client that has sent a message is active");
        for client in &mut clients {
            send_pong(client).await;
        }
        eventually("sessions rest after a pong", || tasks() < FEW).await;
    }
}

#[tokio::test]
async fn nothing_is_lost_when_a_session_rests_again_and_again() {
    const MESSAGES: u32 = 1_000;
    let mut server = Recorded::serve(hub()).await;
    let (mut client, _) = server.connect().await;
    let sending = tokio::spawn(async move {
        for n in 0..MESSAGES {
            send_pong(&mut client).await;
            client.send_text(n.to_string()).await;
        }
        client
    });
    for n in 0..MESSAGES {
        assert_eq!(server.events.message().await.1, n);
    }
    let mut client = within("the end", sending).await.expect("no panic");
    client.close_with(1_000, "over").await;
    server.events.ended().await;
}

#[tokio::test]
async fn resting_sessions_end_with_their_runtime() {
    let hub = hub();
    let theirs = other_runtime();
    let serving = Recorded::serve(hub.clone());
    let mut server = within("a server", theirs.spawn(serving)).await.expect("no panic");
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(server.connect().await);
    }
    let tasks = theirs.handle().metrics();
    eventually("they rest", || tasks.num_alive_tasks() < FEW).await;
    end_runtime(theirs);
    eventually("the connections are gone", || hub.count() == 0).await;
    for (mut client, conn) in clients {
        assert!(conn.is_closed());
        let next = within("the end of the stream", client.0.next()).await;
        assert!(!matches!(next, Some(Ok(_))), "{next:?}");
    }
}

#[tokio::test]
async fn sessions_over_other_streams_end_with_their_runtime() {
    let hub = hub();
    let theirs = other_runtime();
    let (ours, stream) = tokio::io::duplex(1_000);
    let (recorder, mut events) = Recorder::new();
    // No driver of the runtime knows this stream.
    let connection =
        http1::Builder::new().serve_connection(TokioIo::new(stream), hub.handle(recorder));
    theirs.spawn(connection.with_upgrades());
    let _client = Client::over(ours, "/").await.expect("the handshake succeeds");
    let conn = events.open().await;
    assert_eq!(hub.count(), 1);
    end_runtime(theirs);
    eventually("the connection is gone", || hub.count() == 0).await;
    assert!(conn.is_closed());
}
