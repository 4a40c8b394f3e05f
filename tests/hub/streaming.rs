//! A send that waits to one client waits for space in that client's queue, not only in the shard's inbox.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use roomcast::{Builder, Conn, Hub, Overflow, Raw, RawMessage, SendError};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::paced::{Found, connect, read_at, read_fast};
use support::{CLOSE, RawClient, Recorded, close_payload, eventually, frame, within};

/// A call that must wait does not return within this time.
const MOMENT: Duration = Duration::from_millis(300);

const LONG: Duration = Duration::from_secs(60);

fn builder() -> Builder<RawMessage> {
    Hub::with_codec(Raw)
}

/// A message of this many bytes.
fn message(bytes: usize) -> RawMessage {
    RawMessage::Binary(Bytes::from(vec![7; bytes]))
}

/// Sends this many messages, each when the queue has space for it.
async fn stream(conn: &Conn<RawMessage>, messages: usize, bytes: usize) -> Result<(), String> {
    let chunk = message(bytes);
    for sent in 0..messages {
        let result = conn.send(&chunk).await;
        result.map_err(|error| format!("{error} after {sent} of {messages}"))?;
    }
    Ok(())
}

/// Sends to a client that reads without a pause: all messages arrive, and no message is dropped.
async fn stream_to_fast_reader(builder: Builder<RawMessage>, messages: usize, bytes: usize) {
    let mut server = Recorded::serve(builder.build().unwrap()).await;
    let (mut client, conn) = server.connect_raw().await;
    let reader = tokio::spawn(async move { read_fast(&mut client, messages).await });
    within("the stream", stream(&conn, messages, bytes)).await.unwrap();
    conn.close();
    let found = within("the reader", reader).await.unwrap();
    let stats = server.hub.stats();
    let came = (found.messages(), stats.dropped(), stats.evictions());
    assert_eq!(came, (messages, 0, 0), "came, dropped, evictions; {:?}", found.failure);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_reads_gets_a_stream_of_large_chunks() {
    stream_to_fast_reader(builder(), 500, 64 << 10).await;
}

#[tokio::test]
async fn client_that_reads_gets_a_stream_of_large_chunks_on_one_thread() {
    stream_to_fast_reader(builder(), 500, 64 << 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_reads_gets_a_stream_through_a_small_socket_buffer() {
    stream_to_fast_reader(builder().socket_send_buffer(64 << 10), 500, 64 << 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_reads_gets_a_stream_of_small_chunks() {
    for socket_send_buffer in [64 << 10, 4 << 20] {
        let builder = builder().socket_send_buffer(socket_send_buffer);
        stream_to_fast_reader(builder, 2_000, 8 << 10).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_drops_nothing_whatever_the_overflow_policy() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let builder = builder().overflow(overflow).socket_send_buffer(64 << 10);
        stream_to_fast_reader(builder, 500, 64 << 10).await;
    }
}

/// Each message is larger than the client's queue, and larger than a message that a client may send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_larger_than_the_queue_reach_clients_that_read() {
    const BYTES: usize = 3 << 20;
    let builder = builder().socket_send_buffer(64 << 10).max_message_bytes(1_024);
    let mut server = Recorded::serve(builder.build().unwrap()).await;
    let mut tasks = Vec::new();
    for _ in 0..10 {
        let (mut client, conn) = server.connect_raw().await;
        let reader = tokio::spawn(async move { read_fast(&mut client, 4).await });
        tasks.push((tokio::spawn(async move { stream(&conn, 4, BYTES).await }), reader));
    }
    for (writer, reader) in tasks {
        let sent = within("the stream", writer).await.unwrap();
        let found = within("the reader", reader).await.unwrap();
        assert_eq!((sent, found.messages(), found.failure), (Ok(()), 4, None));
    }
    assert_eq!((server.hub.stats().evictions(), server.hub.stats().dropped()), (0, 0));
}

#[tokio::test]
async fn client_that_reads_slowly_slows_the_stream_down() {
    let builder = builder().socket_send_buffer(16 << 10).send_buffer_bytes(64 << 10);
    let hub = builder.write_timeout(Duration::from_secs(2)).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let client = connect(server.server.addr, 16 << 10).await;
    let conn = server.events.open().await;
    let reader = tokio::spawn(read_at(client, 200_000));
    let began = Instant::now();
    within("the stream", stream(&conn, 40, 16 << 10)).await.unwrap();
    // The client has read all messages except those that fit into the queue and the kernel.
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    conn.close();
    let found = within("the reader", reader).await.unwrap();
    assert_eq!((found.messages(), found.code, found.failure), (40, Some(1_000), None));
    assert_eq!(server.hub.stats().evictions(), 0);
}

/// Two streams leave queue space for messages that are published to the room meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_streams_and_a_room_reach_the_same_client() {
    const CHUNKS: usize = 250;
    const CHUNK_BYTES: usize = 64 << 10;
    const NEWS: usize = 200;
    let hub = builder().socket_send_buffer(64 << 10).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let (mut client, conn) = server.connect_raw().await;
    conn.join_subscribed("news").await.unwrap();
    let reader = tokio::spawn(async move { read_fast(&mut client, 2 * CHUNKS + NEWS).await });
    let publisher = tokio::spawn(async move {
        for _ in 0..NEWS {
            hub.to_room("news", &message(32)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let (one, other) =
        tokio::join!(stream(&conn, CHUNKS, CHUNK_BYTES), stream(&conn, CHUNKS, CHUNK_BYTES));
    assert_eq!((one, other), (Ok(()), Ok(())));
    within("the publisher", publisher).await.unwrap();
    let Found { sizes, failure, .. } = within("the reader", reader).await.unwrap();
    assert_eq!(sizes, [(32, NEWS), (CHUNK_BYTES, 2 * CHUNKS)].into(), "{failure:?}");
    let stats = server.hub.stats();
    assert_eq!((stats.evictions(), stats.dropped()), (0, 0));
}

/// A client that reads nothing, and the task whose last send waits.
async fn blocked(
    builder: Builder<RawMessage>,
) -> (Recorded<RawMessage>, RawClient, Conn<RawMessage>) {
    let builder = builder.socket_send_buffer(16 << 10).send_buffer_bytes(256 << 10);
    let mut server = Recorded::serve(builder.build().unwrap()).await;
    let client = connect(server.server.addr, 16 << 10).await;
    let conn = server.events.open().await;
    let chunk = message(64 << 10);
    while let Ok(sent) = timeout(MOMENT, conn.send(&chunk)).await {
        sent.expect("a send that cannot be queued waits");
    }
    (server, client, conn)
}

#[tokio::test]
async fn stalled_client_is_evicted_and_the_waiting_call_returns_the_reason() {
    let timeout = Duration::from_millis(200);
    let builder = builder().socket_send_buffer(16 << 10).write_timeout(timeout);
    let mut server = Recorded::serve(builder.build().unwrap()).await;
    let _client = connect(server.server.addr, 16 << 10).await;
    let conn = server.events.open().await;
    let chunk = message(64 << 10);
    let began = Instant::now();
    let error = loop {
        match within("a send", conn.send(&chunk)).await {
            Ok(()) => assert!(began.elapsed() < LONG, "the kernel's buffers fill up at some time"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SendError::SlowClient(_)), "{error}");
    assert!(began.elapsed() >= timeout, "evicted after {:?}", began.elapsed());
    let stats = server.hub.stats();
    assert_eq!((stats.evicted_full, stats.evicted_stalled), (0, 1), "full, stalled");
}

/// The client leaves, in one of two ways, while a call waits.
async fn waiting_call_ends_with(go: impl AsyncFnOnce(RawClient) -> Option<RawClient>) {
    let (server, client, conn) = blocked(builder().write_timeout(LONG)).await;
    let (sender, is_polled) = oneshot::channel();
    let waiting = tokio::spawn(async move {
        let chunk = message(64 << 10);
        let mut send = pin!(conn.send(&chunk));
        assert!(futures_util::poll!(send.as_mut()).is_pending());
        sender.send(()).expect("the test waits");
        send.await
    });
    within("it waits", is_polled).await.expect("it is pending");
    let client = go(client).await;
    let result = within("the waiting call", waiting).await.unwrap();
    assert!(matches!(result, Err(SendError::Closed)), "{result:?}");
    assert_eq!(server.hub.stats().evictions(), 0);
    drop(client);
}

#[tokio::test]
async fn waiting_call_returns_an_error_when_the_client_closes() {
    waiting_call_ends_with(async |mut client| {
        client.send(&frame(CLOSE, &close_payload(1_000, b""))).await;
        Some(client)
    })
    .await;
}

#[tokio::test]
async fn waiting_call_returns_an_error_when_the_client_vanishes() {
    waiting_call_ends_with(async |client| {
        client.stream.set_zero_linger().expect("a socket takes options");
        None
    })
    .await;
}

#[tokio::test]
async fn waiting_call_that_is_dropped_leaves_nothing_reserved() {
    let (server, mut client, conn) = blocked(builder().write_timeout(LONG)).await;
    let (small, large) = (message(1), message(200 << 10));
    for _ in 0..100 {
        let mut send = pin!(conn.send(&large));
        assert!(futures_util::poll!(send.as_mut()).is_pending(), "there is no place for it");
    }
    let before = server.hub.stats();
    let reader = tokio::spawn(async move {
        let mut found = read_fast(&mut client, 1).await;
        while !found.sizes.contains_key(&1) && found.failure.is_none() {
            let more = read_fast(&mut client, 1).await;
            more.sizes.into_iter().for_each(|(bytes, messages)| {
                *found.sizes.entry(bytes).or_default() += messages;
            });
            found.failure = more.failure;
        }
        found
    });
    // If the dropped calls had left a reservation, these messages would never find space.
    within("a large send", conn.send(&large)).await.unwrap();
    within("a large send", conn.send(&large)).await.unwrap();
    within("a small send", conn.send(&small)).await.unwrap();
    let found = within("the reader", reader).await.unwrap();
    assert_eq!((found.sizes[&(200 << 10)], found.sizes[&1]), (2, 1), "{:?}", found.failure);
    let stats = || server.hub.stats();
    eventually("all is handed over", || stats().deliveries >= before.deliveries + 3).await;
    assert_eq!((stats().evictions(), stats().dropped()), (0, 0));
}
