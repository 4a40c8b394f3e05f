//! The limits on one client: at each limit, and past the limit.

use std::time::{Duration, Instant};

use roomcast::{Close, Conn, DisconnectReason, Handler, Hub, Limit, Stats};

use support::{
    CLOSE, CONTINUATION, FIN, PING, PONG, RawClient, Recorded, TEXT, frame, parse_close, serve,
};

const POLICY: u16 = 1_008;

/// Asserts that the client gets the close, the handler gets the reason, and the counter rises.
async fn closed_over<T: Send + 'static>(
    server: &mut Recorded<T>,
    client: &mut RawClient,
    limit: Limit,
    counted: impl Fn(&Stats) -> u64,
) {
    let (code, reason) = last_close(client).await;
    assert_eq!(code, POLICY, "{reason}");
    assert_eq!(server.events.ended().await.1, DisconnectReason::OverLimit(limit));
    let stats = server.hub.stats();
    assert_eq!((counted(&stats), stats.closed_protocol), (1, 0), "{stats:?}");
}

/// The close frame, after any other frames.
async fn last_close(client: &mut RawClient) -> (u16, String) {
    loop {
        let (first, payload) = client.read_frame().await.expect("a close frame comes");
        if first == CLOSE {
            assert_eq!(client.read_frame().await, None, "nothing follows a close frame");
            return parse_close(&payload);
        }
    }
}

/// A JSON string in this many fragments. The first and the last fragment hold a quote, the others are empty.
fn in_fragments(fragments: usize) -> Vec<u8> {
    let mut bytes = frame(TEXT & !FIN, b"\"");
    (2..fragments).for_each(|_| bytes.extend(frame(CONTINUATION & !FIN, b"")));
    bytes.extend(frame(CONTINUATION, b"\""));
    bytes
}

#[tokio::test]
async fn message_of_64_fragments_passes_and_one_of_65_is_refused() {
    let mut server = Recorded::serve(Hub::<String>::new()).await;
    let (mut client, _) = server.connect_raw().await;
    for _ in 0..3 {
        client.send(&in_fragments(64)).await;
        assert_eq!(server.events.message().await.1, "");
    }
    client.send(&in_fragments(65)).await;
    closed_over(&mut server, &mut client, Limit::Fragments, |stats| stats.closed_fragments).await;
}

#[tokio::test]
async fn fragments_are_counted_at_their_headers_despite_frames_in_between() {
    let hub = Hub::<String>::builder().max_fragments(1).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (mut client, _) = server.connect_raw().await;
    for byte in frame(TEXT, b"\"in pieces\"") {
        client.send(&[byte]).await;
    }
    assert_eq!(
        server.events.message().await.1,
        "in pieces",
        "a whole frame is one, however it comes"
    );
    client.send(&frame(TEXT & !FIN, b"\"")).await;
    client.send(&frame(PING, b"")).await;
    assert_eq!(client.read_frame().await, Some((PONG, vec![])));
    client.send(&frame(CONTINUATION, b"\"")[..6]).await;
    closed_over(&mut server, &mut client, Limit::Fragments, |stats| stats.closed_fragments).await;
}

async fn impatient() -> Recorded<String> {
    let timeout = Duration::from_millis(150);
    Recorded::serve(Hub::builder().message_timeout(timeout).build().unwrap()).await
}

#[tokio::test]
async fn message_that_does_not_end_in_time_is_refused() {
    let message = in_fragments(3);
    // The message stops inside a header, inside a payload, and between two frames.
    for begun in [1, 3, 6, 7, 13] {
        let mut server = impatient().await;
        let (mut client, _) = server.connect_raw().await;
        let began = Instant::now();
        client.send(&message[..begun]).await;
        let counted = |stats: &Stats| stats.closed_slow_message;
        closed_over(&mut server, &mut client, Limit::MessageTime, counted).await;
        assert!(began.elapsed() >= Duration::from_millis(150), "{begun} bytes");
    }
}

#[tokio::test]
async fn pings_between_fragments_do_not_extend_the_deadline() {
    let mut server = impatient().await;
    let (mut client, _) = server.connect_raw().await;
    client.send(&frame(TEXT & !FIN, b"\"")).await;
    let end = loop {
        // The hub answers each message, until the answer is a close frame.
        client.send(&frame(PING, b"")).await;
        match client.read_frame().await {
            Some((PONG, _)) => {}
            other => break other.expect("a close frame comes"),
        }
    };
    assert_eq!(parse_close(&end.1).0, POLICY);
    assert_eq!(server.events.ended().await.1, DisconnectReason::OverLimit(Limit::MessageTime));
}

#[tokio::test]
async fn each_message_has_the_full_time_limit() {
    let mut server = impatient().await;
    let (mut client, _) = server.connect_raw().await;
    // Together the messages take longer than the limit of one message, and each read ends inside a message.
    let message = frame(TEXT, b"\"\"");
    let began = Instant::now();
    client.send(&message[..2]).await;
    while began.elapsed() < Duration::from_millis(400) {
        client.send(&[&message[2..], &message[..2]].concat()).await;
        server.events.message().await;
    }
    client.send(&message[2..]).await;
    server.events.message().await;
    assert_eq!(server.hub.stats().closed_slow_message, 0);
}

#[tokio::test]
async fn client_that_sends_more_messages_than_its_rate_is_refused() {
    let hub = Hub::<String>::builder().message_rate(1, 20).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (mut client, _) = server.connect_raw().await;
    client.send(&frame(TEXT, b"\"\"").repeat(20)).await;
    for _ in 0..20 {
        server.events.message().await;
    }
    client.send(&frame(TEXT, b"\"\"").repeat(100)).await;
    closed_over(&mut server, &mut client, Limit::MessageRate, |stats| stats.closed_flooding).await;
}

#[tokio::test]
async fn pings_and_pongs_count_as_messages() {
    for control in [PING, PONG] {
        let hub = Hub::<String>::builder().message_rate(1, 20).build().unwrap();
        let mut server = Recorded::serve(hub).await;
        let (mut client, _) = server.connect_raw().await;
        client.send(&frame(control, b"").repeat(120)).await;
        let counted = |stats: &Stats| stats.closed_flooding;
        closed_over(&mut server, &mut client, Limit::MessageRate, counted).await;
    }
}

#[tokio::test]
async fn client_that_exceeds_its_byte_rate_is_refused_before_a_message_is_complete() {
    let hub = Hub::<String>::builder().byte_rate(1, 1_000).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (mut client, _) = server.connect_raw().await;
    let message = frame(TEXT, &[b'x'; 20_000]);
    client.send(&message[..900]).await;
    client.send(&message[900..1_900]).await;
    closed_over(&mut server, &mut client, Limit::ByteRate, |stats| stats.closed_flooding).await;
}

/// A handler that answers, and then may run for some time.
struct Slow(Duration);

impl Handler<String> for Slow {
    async fn on_message(&self, conn: &Conn<String>, message: String) -> Result<(), Close> {
        conn.try_send(&message).unwrap();
        if message == "wait" {
            tokio::time::sleep(self.0).await;
        }
        Ok(())
    }
}

#[tokio::test]
async fn messages_within_the_rate_during_a_handler_do_not_close_the_client() {
    // The rate allows 50 more messages while the handler runs; the burst alone allows one.
    let hub = Hub::<String>::builder().message_rate(100, 1).byte_rate(1_000, 20).build().unwrap();
    let server = serve(hub.handle(Slow(Duration::from_millis(500)))).await;
    let mut client = RawClient::connect(server.addr).await;
    client.send(&frame(TEXT, b"\"wait\"")).await;
    assert_eq!(client.read_frame().await, Some((TEXT, b"\"wait\"".to_vec())));
    client.send(&frame(TEXT, b"\"\"").repeat(40)).await;
    for _ in 0..40 {
        assert_eq!(client.read_frame().await.expect("not closed").0, TEXT);
    }
    assert_eq!(hub.stats().closed_flooding, 0);
    client.send(&frame(TEXT, b"\"\"").repeat(300)).await;
    assert_eq!(last_close(&mut client).await.0, POLICY);
    assert_eq!(hub.stats().closed_flooding, 1);
}

#[tokio::test]
async fn close_frame_does_not_count_against_the_rate() {
    let hub = Hub::<String>::builder().message_rate(1, 1).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (mut client, _) = server.connect_raw().await;
    client.send(&[frame(TEXT, b"\"\""), frame(CLOSE, b"\x03\xe8")].concat()).await;
    let reason = server.events.ended().await.1;
    assert!(matches!(reason, DisconnectReason::ClosedByClient(_)), "{reason}");
    assert_eq!(server.hub.stats().closed_flooding, 0);
}

/// A handler that runs for some time, and then leaves this much of its task's budget.
struct Spent(usize);

impl Handler<String> for Spent {
    async fn on_message(&self, conn: &Conn<String>, message: String) -> Result<(), Close> {
        conn.try_send(&message).unwrap();
        if message == "wait" {
            tokio::time::sleep(Duration::from_millis(500)).await;
            tokio::task::yield_now().await;
            // A poll begins with a budget of 128.
            for _ in self.0..128 {
                tokio::task::coop::consume_budget().await;
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn handler_time_counts_even_when_the_task_budget_is_used_up() {
    for left in 0..4 {
        let hub = Hub::<String>::builder().message_rate(100, 1).build().unwrap();
        let server = serve(hub.handle(Spent(left))).await;
        let mut client = RawClient::connect(server.addr).await;
        client.send(&frame(TEXT, b"\"wait\"")).await;
        assert_eq!(client.read_frame().await, Some((TEXT, b"\"wait\"".to_vec())));
        client.send(&frame(TEXT, b"\"\"").repeat(40)).await;
        for n in 0..40 {
            assert_eq!(client.read_frame().await.expect("not closed").0, TEXT, "{left} left, {n}");
        }
    }
}

#[tokio::test]
async fn rate_tokens_gained_during_a_handler_expire_once_its_backlog_is_read() {
    let hub = Hub::<String>::builder().message_rate(100, 1).build().unwrap();
    let server = serve(hub.handle(Slow(Duration::from_millis(500)))).await;
    let mut client = RawClient::connect(server.addr).await;
    for text in [&b"\"wait\""[..], b"\"\""] {
        client.send(&frame(TEXT, text)).await;
        assert_eq!(client.read_frame().await, Some((TEXT, text.to_vec())));
    }
    // The session looked for more input before its shard sent the answer.
    client.send(&frame(TEXT, b"\"\"").repeat(40)).await;
    assert_eq!(last_close(&mut client).await.0, POLICY);
    assert_eq!(hub.stats().closed_flooding, 1);
}
