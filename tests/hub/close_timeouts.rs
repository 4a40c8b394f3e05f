//! The close timeout: the time that a connection stays after its close frame while its client reads nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use roomcast::{BuildError, Builder, Hub, Raw, RawMessage};

use crate::paced::{connect, read_at};
use support::{Recorded, within};

const CHUNK_BYTES: usize = 50 << 10;

const SHORT: Duration = Duration::from_millis(500);

/// The extra time that a busy machine may need.
const LATE: Duration = Duration::from_secs(2);

fn builder() -> Builder<RawMessage> {
    Hub::with_codec(Raw).shards(1).send_buffer(64).send_buffer_bytes(8 << 20)
}

fn message(bytes: usize) -> RawMessage {
    RawMessage::Binary(Bytes::from(vec![7; bytes]))
}

/// The time that the socket stays open after a close, for a client that reads nothing and sends nothing.
async fn time_of_a_close(builder: Builder<RawMessage>, messages: usize, bytes: usize) -> Duration {
    let mut server = Recorded::serve(builder.build().unwrap()).await;
    let _client = connect(server.server.addr, 16 << 10).await;
    let conn = server.events.open().await;
    for _ in 0..messages {
        conn.try_send(&message(bytes)).unwrap();
    }
    conn.close_with(4_001.into(), "enough");
    let began = Instant::now();
    server.events.ended().await;
    server.hub.shutdown_now();
    within("nothing is left", server.hub.closed()).await;
    began.elapsed()
}

#[tokio::test]
async fn client_that_reads_nothing_is_dropped_after_the_close_timeout() {
    // Sizes that fit into the client's kernel, that fit into the server's kernel, and that fit into neither.
    for (messages, bytes) in [(1, 1_000), (12, CHUNK_BYTES), (120, CHUNK_BYTES)] {
        // In the last case the time counts until the close frame is sent.
        let builder = builder().close_timeout(SHORT).write_timeout(SHORT);
        let took = time_of_a_close(builder, messages, bytes).await;
        assert!((SHORT..SHORT + LATE).contains(&took), "{messages} of {bytes} bytes: {took:?}");
    }
}

#[tokio::test]
async fn close_timeout_is_five_seconds_by_default() {
    let took = time_of_a_close(builder(), 12, CHUNK_BYTES).await;
    let expected = Duration::from_secs(5);
    assert!((expected..expected + LATE).contains(&took), "{took:?}");
}

#[tokio::test]
async fn client_that_reads_on_may_take_far_longer_than_the_close_timeout() {
    let mut server = Recorded::serve(builder().close_timeout(SHORT).build().unwrap()).await;
    let client = connect(server.server.addr, 32 << 10).await;
    let conn = server.events.open().await;
    let reader = tokio::spawn(read_at(client, 300_000));
    for _ in 0..12 {
        conn.try_send(&message(CHUNK_BYTES)).unwrap();
    }
    conn.close_with(4_001.into(), "enough");
    let found = within("the client reads to the end", reader).await.unwrap();
    assert_eq!((found.messages(), found.code, found.failure), (12, Some(4_001), None));
}

#[tokio::test]
async fn close_timeout_has_the_same_range_as_other_timeouts() {
    for timeout in [Duration::ZERO, Duration::from_millis(9), Duration::from_secs(86_401)] {
        let error = builder().close_timeout(timeout).build().expect_err("out of range");
        assert!(
            matches!(error, BuildError::OutOfRange { setting: "close_timeout", .. }),
            "{error}"
        );
    }
}
