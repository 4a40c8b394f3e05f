//! The reason for each eviction, as the handler and the counters report it.

use std::time::Duration;

use bytes::Bytes;
use roomcast::{Builder, DisconnectReason, Eviction, Hub, Raw, RawMessage};

use crate::paced::connect;
use support::Recorded;

const MESSAGE_BYTES: usize = 40_000;

fn builder() -> Builder<RawMessage> {
    let builder = Hub::with_codec(Raw).shards(1).write_timeout(Duration::from_secs(60));
    builder.socket_send_buffer(4_096)
}

/// Sends to a client that reads nothing, until `is_enough`. Returns the reason for the eviction.
async fn evicted(
    builder: Builder<RawMessage>,
    is_enough: impl Fn(&Hub<RawMessage>) -> bool,
) -> (Eviction, usize, usize) {
    let mut server = Recorded::serve(builder.build().unwrap()).await;
    let _client = connect(server.server.addr, 4_096).await;
    let conn = server.events.open().await;
    let message = RawMessage::Binary(Bytes::from(vec![7; MESSAGE_BYTES]));
    for sent in 0.. {
        assert!(sent < 1_000, "the kernel's buffers fill up at some time");
        if is_enough(&server.hub) {
            break;
        }
        // The hub refuses the message once the client is evicted.
        let _ = conn.try_send(&message);
        conn.rooms().await;
    }
    let (_, reason) = server.events.ended().await;
    match reason {
        DisconnectReason::SlowClient { cause, messages, bytes } => (cause, messages, bytes),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn client_with_a_full_queue_is_evicted_as_full() {
    let builder = builder().send_buffer_bytes(4 * (MESSAGE_BYTES + 4));
    let (cause, messages, bytes) = evicted(builder, |hub| hub.stats().evictions() > 0).await;
    assert_eq!(cause, Eviction::Full);
    assert!((5..=6).contains(&messages) && bytes > 4 * MESSAGE_BYTES, "{messages}, {bytes}");
}

#[tokio::test]
async fn client_that_reads_nothing_for_the_write_timeout_is_evicted_as_stalled() {
    let builder = builder().write_timeout(Duration::from_millis(200));
    let (cause, messages, bytes) = evicted(builder, |hub| hub.stats().blocked == 1).await;
    assert_eq!(cause, Eviction::Stalled);
    assert!(messages >= 1 && bytes >= 1, "{messages}, {bytes}");
}

#[tokio::test]
async fn client_with_the_most_queued_bytes_is_evicted_for_memory() {
    let builder = builder().send_buffer(1_000).max_queued_bytes(4 * MESSAGE_BYTES);
    let (cause, _, bytes) = evicted(builder, |hub| hub.stats().evictions() > 0).await;
    assert_eq!(cause, Eviction::Memory);
    assert!(bytes > 3 * MESSAGE_BYTES, "{bytes}");
}
