//! Clients that read, and clients that do not.

use std::time::Duration;

use roomcast::test::TestServer;
use roomcast::{Builder, CloseCode, Hub, Overflow};
use tokio::time::{sleep, timeout};

use crate::NEVER;

/// The number of messages that the hub queues for a client.
const QUEUE_BYTES: usize = 4_096;

fn builder() -> Builder<String> {
    Hub::builder().send_buffer_bytes(QUEUE_BYTES).ping_interval(Duration::from_secs(10))
}

/// A message with its number.
fn message(number: usize) -> String {
    format!("{number:1000}")
}

async fn publish(hub: &Hub<String>, count: usize) {
    for number in 0..count {
        hub.broadcast(&message(number)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn paused_client_with_a_full_queue_is_evicted_and_others_get_all() {
    let hub = builder().build().unwrap();
    let server = TestServer::new("/", hub.handle(hub.handlers()));
    let mut slow = server.connect("/").pipe_bytes(1_024).await.unwrap();
    let mut other = server.connect("/").await.unwrap();
    slow.pause();
    publish(&hub, 20).await;
    for number in 0..20 {
        assert_eq!(other.recv().await.unwrap(), message(number));
    }
    slow.resume();
    assert_eq!(timeout(NEVER, slow.closed()).await.unwrap().code, CloseCode::POLICY);
    assert_eq!(hub.stats().evicted_full, 1);
}

#[tokio::test(start_paused = true)]
async fn client_that_is_paused_within_its_queue_gets_all_when_it_resumes() {
    let hub = builder().build().unwrap();
    let server = TestServer::new("/", hub.handle(hub.handlers()));
    let mut client = server.connect("/").pipe_bytes(2_048).await.unwrap();
    for _ in 0..3 {
        client.pause();
        publish(&hub, 5).await;
        timeout(Duration::from_secs(1), client.recv()).await.expect_err("it does not read");
        client.resume();
        for number in 0..5 {
            assert_eq!(client.recv().await.unwrap(), message(number));
        }
    }
    assert_eq!(hub.stats().dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn paused_client_reads_nothing_until_the_write_timeout() {
    let hub = builder().write_timeout(Duration::from_secs(2)).build().unwrap();
    let server = TestServer::new("/", hub.handle(hub.handlers()));
    let client = server.connect("/").pipe_bytes(1_024).await.unwrap();
    client.pause();
    publish(&hub, 3).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(hub.stats().evictions(), 0);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(hub.stats().evicted_stalled, 1);
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_receive_stops_reading_at_the_bound_of_its_inbox() {
    let hub = builder().overflow(Overflow::DropNewest).build().unwrap();
    let server = TestServer::new("/", hub.handle(hub.handlers()));
    let connecting = server.connect("/").pipe_bytes(1_024).inbox_messages(10);
    let mut client = connecting.await.unwrap();
    for number in 0..100 {
        hub.broadcast(&message(number)).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    let mut received = 0;
    while let Ok(Ok(text)) = timeout(Duration::from_secs(1), client.recv()).await {
        assert_eq!(text, message(received));
        received += 1;
    }
    // Ten messages in the client's inbox, one in its reading task, and the rest in buffers of at most 8 KiB.
    assert!((11..40).contains(&received), "{received}");
    assert_eq!(hub.stats().dropped_newest, 100 - received as u64);
}

#[tokio::test(start_paused = true)]
async fn client_that_reads_answers_pings_and_one_that_is_paused_is_idle() {
    let hub = builder().build().unwrap();
    let server = TestServer::new("/", hub.handle(hub.handlers()));
    let (mut awake, mut asleep) =
        (server.connect("/").await.unwrap(), server.connect("/").await.unwrap());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(hub.count(), 2, "both answer");
    asleep.pause();
    sleep(Duration::from_secs(60)).await;
    assert_eq!((hub.count(), hub.stats().closed_idle), (1, 1));
    asleep.resume();
    assert_eq!(asleep.closed().await.code, CloseCode::GOING_AWAY);
    publish(&hub, 1).await;
    assert_eq!(awake.recv().await.unwrap(), message(0));
}
