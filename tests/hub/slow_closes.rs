//! After the close frame, the socket stays open while its client reads.

use std::time::{Duration, Instant};

use bytes::Bytes;
use roomcast::{Conn, DisconnectReason, Hub, Raw, RawMessage, Shutdown};
use tokio::task::JoinHandle;

use crate::paced::{Found, connect, read_at};
use support::{RawClient, Recorded, within};

const SECOND: Duration = Duration::from_secs(1);

/// A message of this many bytes.
fn message(bytes: usize) -> RawMessage {
    RawMessage::Binary(Bytes::from(vec![7; bytes]))
}

/// The messages before the close, and the pace of the client.
#[derive(Clone, Copy)]
struct Pace {
    messages: usize,
    message_bytes: usize,
    receive_buffer: u32,
    bytes_per_second: usize,
}

/// 600 KiB in two seconds.
const USUAL: Pace = Pace {
    messages: 12,
    message_bytes: 50 << 10,
    receive_buffer: 32 << 10,
    bytes_per_second: 300_000,
};

/// A server, and one client to which the hub has sent all messages.
struct Scene {
    server: Recorded<RawMessage>,
    conn: Conn<RawMessage>,
}

impl Scene {
    async fn begin(pace: Pace) -> (Self, RawClient) {
        // The test is not about full queues, so the queue is large.
        let hub = Hub::with_codec(Raw).send_buffer(64).send_buffer_bytes(8 << 20).build().unwrap();
        let mut server = Recorded::serve(hub).await;
        let client = connect(server.server.addr, pace.receive_buffer).await;
        let conn = server.events.open().await;
        for _ in 0..pace.messages {
            conn.try_send(&message(pace.message_bytes)).unwrap();
        }
        (Self { server, conn }, client)
    }

    async fn reading(pace: Pace) -> (Self, JoinHandle<Found>) {
        let (scene, client) = Self::begin(pace).await;
        (scene, tokio::spawn(read_at(client, pace.bytes_per_second)))
    }
}

/// Asserts that all messages and the code arrived, and then a clean end.
async fn all_comes(pace: Pace, reader: JoinHandle<Found>, code: u16) {
    let found = within("the client reads to the end", reader).await.unwrap();
    let came = (found.messages(), found.code, found.failure);
    assert_eq!(came, (pace.messages, Some(code), None), "messages, code, failure");
}

async fn close_behind(pace: Pace) {
    let (mut scene, reader) = Scene::reading(pace).await;
    scene.conn.close_with(4_001.into(), "enough");
    all_comes(pace, reader, 4_001).await;
    let (_, reason) = scene.server.events.ended().await;
    assert!(matches!(reason, DisconnectReason::ClosedByServer(_)), "{reason}");
    assert_eq!(scene.server.hub.stats().dropped(), 0);
}

#[tokio::test]
async fn client_that_reads_on_gets_everything_before_the_close_and_its_code() {
    close_behind(USUAL).await;
}

#[tokio::test]
async fn client_with_a_larger_buffer_and_more_to_read_gets_everything_before_the_close() {
    close_behind(Pace {
        messages: 30,
        receive_buffer: 64 << 10,
        bytes_per_second: 400_000,
        ..USUAL
    })
    .await;
}

#[tokio::test]
async fn much_slower_client_gets_everything_before_the_close() {
    close_behind(Pace {
        messages: 10,
        message_bytes: 10 << 10,
        receive_buffer: 16 << 10,
        bytes_per_second: 30_000,
    })
    .await;
}

#[tokio::test]
async fn client_that_reads_on_gets_everything_before_a_shutdown_which_is_clean() {
    let (scene, reader) = Scene::reading(USUAL).await;
    let how = Shutdown::within(20 * SECOND).spread_over(Duration::ZERO);
    let report = within("the shutdown", scene.server.hub.shutdown(how)).await;
    assert!(report.is_clean() && report.cut == 0, "{report}");
    assert!(report.took >= SECOND, "the client cannot have read it all: {report}");
    all_comes(USUAL, reader, 1_001).await;
}

/// The deadline is a second apart from the time that the client needs to read.
#[tokio::test]
async fn shutdown_reports_a_client_that_it_cut_while_the_client_still_read() {
    let (scene, reader) = Scene::reading(USUAL).await;
    let how = Shutdown::within(SECOND).spread_over(Duration::ZERO);
    let report = within("the shutdown", scene.server.hub.shutdown(how)).await;
    let found = within("the client reads to the end", reader).await.unwrap();
    assert_eq!((report.unfinished, report.cut), (1, 1), "{report}");
    assert!(!report.is_clean(), "{report}");
    assert!(found.messages() < USUAL.messages, "{}", found.messages());
}

#[tokio::test]
async fn client_that_reads_nothing_is_cut_at_the_deadline_and_reported() {
    let (scene, _client) = Scene::begin(USUAL).await;
    let how = Shutdown::within(SECOND / 3).spread_over(Duration::ZERO);
    let report = within("the shutdown", scene.server.hub.shutdown(how)).await;
    assert_eq!((report.unfinished, report.cut), (1, 1), "{report}");
    within("nothing is left", scene.server.hub.closed()).await;
}

/// The time that the socket of an evicted client stays open: from the eviction to the end of its session.
async fn time_of_an_eviction(bytes_per_second: Option<usize>) -> Duration {
    let hub = Hub::with_codec(Raw).shards(1).send_buffer(4).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let client = connect(server.server.addr, 16 << 10).await;
    let conn = server.events.open().await;
    while hub.stats().evictions() == 0 {
        // The buffers of the kernel are full at some time.
        let _ = conn.try_send(&message(60_000));
        conn.rooms().await;
    }
    let (_, reason) = server.events.ended().await;
    assert!(matches!(reason, DisconnectReason::SlowClient { .. }), "{reason}");
    let began = Instant::now();
    let mut unread = None;
    match bytes_per_second {
        Some(bytes) => drop(tokio::spawn(read_at(client, bytes))),
        None => unread = Some(client),
    }
    hub.shutdown_now();
    within("nothing is left", hub.closed()).await;
    drop(unread);
    began.elapsed()
}

#[tokio::test]
async fn socket_of_an_evicted_client_closes_within_about_a_second() {
    let took = time_of_an_eviction(None).await;
    assert!(took < 2 * SECOND, "{took:?}");
}

#[tokio::test]
async fn socket_of_an_evicted_client_that_reads_again_closes_within_about_two_seconds() {
    let took = time_of_an_eviction(Some(50_000)).await;
    assert!(took < 3 * SECOND, "{took:?}");
}
