//! The bytes that a hub holds for a client, and the calls that wait for that client.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use roomcast::{Builder, Conn, Hub, Raw, RawMessage, SendError, Target};
use tokio::time::timeout;

use crate::paced::{connect, read_fast};
use support::{RawClient, Recorded, eventually, within};

/// A call that must wait does not return within this time.
const MOMENT: Duration = Duration::from_millis(300);

const LONG: Duration = Duration::from_secs(60);

const CHUNK_BYTES: usize = 64 << 10;

fn message(bytes: usize) -> RawMessage {
    RawMessage::Binary(Bytes::from(vec![7; bytes]))
}

fn builder() -> Builder<RawMessage> {
    Hub::with_codec(Raw).shards(1).write_timeout(LONG)
}

#[tokio::test]
async fn queued_bytes_count_until_they_are_sent() {
    let mut server = Recorded::serve(builder().build().unwrap()).await;
    let (mut client, conn) = server.connect_raw().await;
    assert_eq!(conn.queued_bytes(), 0);
    // The runtime has one thread, so the shard does not run between these calls.
    conn.try_send(&message(1_000)).unwrap();
    conn.try_send_encoded(&server.hub.encode(&message(1_000)).unwrap()).unwrap();
    assert!(conn.queued_bytes() >= 2_000, "{}", conn.queued_bytes());
    assert!(conn.queued_bytes() <= 2_000 + 2 * 14, "headers beside them: {}", conn.queued_bytes());
    within("the flush", conn.flushed()).await.unwrap();
    assert_eq!(conn.queued_bytes(), 0);
    assert_eq!(read_fast(&mut client, 2).await.messages(), 2);
    within("nothing to wait for", conn.flushed()).await.unwrap();
}

/// A client that reads nothing, and whose queue has no space for another chunk.
async fn blocked(
    builder: Builder<RawMessage>,
) -> (Recorded<RawMessage>, RawClient, Conn<RawMessage>) {
    let builder = builder.socket_send_buffer(16 << 10).send_buffer_bytes(4 * CHUNK_BYTES);
    let mut server = Recorded::serve(builder.build().unwrap()).await;
    let client = connect(server.server.addr, 16 << 10).await;
    let conn = server.events.open().await;
    while let Ok(sent) = timeout(MOMENT, conn.send(&message(CHUNK_BYTES))).await {
        sent.expect("a send that cannot be queued waits");
    }
    (server, client, conn)
}

#[tokio::test]
async fn bytes_that_wait_for_a_client_count_and_a_flush_waits_for_them() {
    let (_server, mut client, conn) = blocked(builder()).await;
    let queued = conn.queued_bytes();
    let most = 4 * CHUNK_BYTES + 4 * 10;
    assert!((CHUNK_BYTES..=most).contains(&queued), "{queued} of {most}");
    {
        let mut flush = pin!(conn.flushed());
        assert!(timeout(MOMENT, flush.as_mut()).await.is_err(), "the client takes nothing");
        let reading = read_fast(&mut client, usize::MAX);
        tokio::select! {
            flushed = within("the flush", flush) => flushed.unwrap(),
            _ = reading => panic!("the stream does not end"),
        }
    }
    assert_eq!(conn.queued_bytes(), 0);
}

#[tokio::test]
async fn published_bytes_that_wait_for_a_client_count_too() {
    let (server, _client, conn) = blocked(builder()).await;
    conn.try_join("r").unwrap();
    let before = conn.queued_bytes();
    server.hub.try_to_room("r", &message(100)).unwrap();
    conn.rooms().await;
    let more = conn.queued_bytes() - before;
    assert!((100..=104).contains(&more), "{more}");
}

#[tokio::test]
async fn flush_returns_an_error_when_its_client_leaves_or_is_evicted() {
    let (_server, client, conn) = blocked(builder()).await;
    client.stream.set_zero_linger().expect("a socket takes options");
    drop(client);
    let flushed = within("the end of the wait", conn.flushed()).await;
    assert!(matches!(flushed, Err(SendError::Closed)), "{flushed:?}");
    assert_eq!(conn.queued_bytes(), 0, "nothing is held for a client that is gone");

    let timeout = Duration::from_secs(1);
    let (mut server, _client, conn) = blocked(builder().write_timeout(timeout)).await;
    let flushed = within("the eviction", conn.flushed()).await;
    assert!(matches!(flushed, Err(SendError::SlowClient(_))), "{flushed:?}");
    let again = within("what is over", conn.flushed()).await;
    assert!(
        matches!(again, Err(SendError::SlowClient(_))),
        "nothing waits, for it is lost: {again:?}"
    );
    server.events.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encoded_sends_that_wait_reach_two_clients_that_read() {
    const MESSAGES: usize = 500;
    let hub = builder().socket_send_buffer(64 << 10).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let encoded = server.hub.encode(&message(CHUNK_BYTES)).unwrap();
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let (mut client, conn) = server.connect_raw().await;
        let encoded = encoded.clone();
        let writer = tokio::spawn(async move {
            for _ in 0..MESSAGES {
                conn.send_encoded(&encoded).await?;
            }
            conn.flushed().await
        });
        // The client stays until the writer has finished.
        let reader = async move { (read_fast(&mut client, MESSAGES).await.messages(), client) };
        tasks.push((writer, tokio::spawn(reader)));
    }
    for (writer, reader) in tasks {
        let (read, _client) = within("the reader", reader).await.unwrap();
        within("the stream", writer).await.unwrap().unwrap();
        assert_eq!(read, MESSAGES);
    }
    assert_eq!((server.hub.stats().evictions(), server.hub.stats().dropped()), (0, 0));
}

#[tokio::test]
async fn waiting_leave_succeeds_after_a_full_inbox() {
    let hub = Hub::<u32>::builder().shards(1).inbox_messages(2).send_buffer(64).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let (mut client, conn) = server.connect().await;
    conn.join_subscribed("r").await.unwrap();
    conn.rooms().await;
    (0..2).for_each(|message| hub.try_broadcast(&message).unwrap());
    assert!(conn.try_leave("r").is_err());
    within("the leave", conn.leave("r")).await.unwrap();
    assert_eq!(hub.member_count("r"), 0);
    within("a leave without membership", conn.leave("r")).await.unwrap();
    hub.to_room("r", &9).await.unwrap();
    hub.broadcast(&2).await.unwrap();
    assert_eq!(client.get_many::<u32>(3).await, [0, 1, 2]);
}

#[tokio::test]
async fn stream_to_the_id_of_a_connection_arrives_whole() {
    let hub = builder().socket_send_buffer(64 << 10).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let (mut client, conn) = server.connect_raw().await;
    let target = Target::conn(conn.id());
    let writer = async {
        for _ in 0..200 {
            hub.publish(&target, &message(CHUNK_BYTES)).await.unwrap();
        }
        let excepted = Target::conn(conn.id()).except(conn.id());
        hub.publish(&excepted, &message(1)).await.unwrap();
    };
    let ((), read) = tokio::join!(writer, read_fast(&mut client, 200));
    assert_eq!(read.messages(), 200);
    assert_eq!((hub.stats().evictions(), hub.stats().dropped()), (0, 0));
    // A message to an ended connection reaches nobody, and this is not an error.
    drop(client);
    server.events.ended().await;
    within("no wait", hub.publish(&target, &message(1))).await.unwrap();
    eventually("it is counted", || hub.stats().dropped() == 1).await;
}
