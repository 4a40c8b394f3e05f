//! Handlers that panic.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt, stream};
use tokio_tungstenite::tungstenite::Message;

use crate::obedient::{self, LEAVE, PANIC};
use crate::raise_descriptor_limit;
use support::scene::crowd::{Client, Crowd, connect, next_line};
use support::scene::oracle::{Ledger, Line};

/// The most handshakes at the same time.
const DIALS: usize = 256;

async fn tell(client: &mut Client, text: &str) {
    let line = Line { text: text.to_owned(), user: "crowd/teller".to_owned(), seq: 0, ts: 0.0 };
    let line = simd_json::to_string(&line).expect("encodable");
    client.send(Message::text(line)).await.expect("connected");
}

/// Makes its handler panic, and expects close code 1011; the messages before it are in order.
async fn panic(mut client: Client) {
    let mut ledger = Ledger::new("crowd");
    tell(&mut client, PANIC).await;
    let code = loop {
        match client.next().await.expect("a close frame comes").expect("intact") {
            Message::Text(text) => {
                let line = simd_json::from_slice(&mut text.as_bytes().to_vec()).expect("JSON");
                ledger.note(&line);
            }
            Message::Close(frame) => break frame.expect("a code").code,
            _ => {}
        }
    };
    assert_eq!(u16::from(code), 1_011);
}

async fn panic_all(panics: usize, members: usize) {
    raise_descriptor_limit();
    let server = obedient::start().await;
    let mut crowd = Crowd::gather(&server, "crowd", members, 10).await;
    let dials = (0..panics).map(|_| connect(server.addr(), "crowd"));
    let clients: Vec<_> = stream::iter(dials).buffer_unordered(DIALS).collect().await;
    let panicking = tokio::spawn(async move {
        stream::iter(clients).for_each_concurrent(None, panic).await;
    });
    let latencies = crowd.publish(200, Duration::from_millis(10)).await;
    panicking.await.expect("each client got the close code");
    let stats = server.eventually("crowd", "only the panicked connections are gone", |stats| {
        stats.members == members && stats.hub.connections == members as u64
    });
    assert_eq!(stats.await.hub.handler_panics, panics as u64);
    println!(
        "{panics} handlers panicked: {members} others got all 200 messages, p99 {} µs",
        latencies.value_at_quantile(0.99)
    );
    crowd.leave().await;
    assert_eq!(server.nothing_is_left().await.hub.handler_panics, panics as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_panic_ends_only_its_own_connection() {
    panic_all(100, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a thousand panics"]
async fn a_thousand_handler_panics_end_only_their_own_connections() {
    panic_all(1_000, 200).await;
}

/// Leaves the room through its handler, stays connected, and gets no more messages of the room.
async fn leave(mut client: Client) {
    let mut ledger = Ledger::new("crowd");
    let heard = next_line(&mut client).await.expect("the client is a member");
    ledger.note(&heard);
    tell(&mut client, LEAVE).await;
    loop {
        let line = next_line(&mut client).await.expect("the client stays connected");
        if line.text == LEAVE {
            break;
        }
        ledger.note(&line);
    }
    client.close(None).await.expect("the client can send a close");
    let rest = next_line(&mut client).await;
    assert!(rest.is_none(), "a message of the room that it has left: {rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_left_a_room_gets_no_more_of_its_messages() {
    let server = obedient::start().await;
    let mut crowd = Crowd::gather(&server, "crowd", 10, 10).await;
    let dials = (0..100).map(|_| connect(server.addr(), "crowd"));
    let clients: Vec<_> = stream::iter(dials).buffer_unordered(DIALS).collect().await;
    let leaving = tokio::spawn(async move {
        stream::iter(clients).for_each_concurrent(None, leave).await;
    });
    while !leaving.is_finished() {
        crowd.publish_in_turn(1).await;
    }
    leaving.await.expect("each has left");
    crowd.leave().await;
    server.nothing_is_left().await;
}
