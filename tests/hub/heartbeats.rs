//! Heartbeats: empty text messages, with which pages check that the hub answers.

use std::sync::Arc;

use roomcast::{
    Close, Codec, Conn, DecodeError, EncodeError, FrameKind, Handler, Hub, Raw, RawMessage,
};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message;

use support::{CONTINUATION, Client, FIN, PING, PONG, Recorded, TEXT, eventually, frame, serve};

#[tokio::test]
async fn heartbeat_is_answered_and_neither_handler_nor_codec_sees_it() {
    let mut server = Recorded::serve(Hub::<u32>::new()).await;
    let (mut client, _) = server.connect().await;
    for _ in 0..3 {
        client.send_text("").await;
        assert_eq!(client.next_data().await, Message::text(""));
    }
    client.send_text("7").await;
    assert_eq!(server.events.message().await.1, 7);
    assert!(server.events.pending().is_none(), "the handler got no other event");
    let stats = server.hub.stats();
    assert_eq!((stats.heartbeats, stats.messages_in, stats.decode_errors), (3, 1, 0));
    assert_eq!(stats.deliveries, 0);
}

#[tokio::test]
async fn heartbeats_that_come_together_with_pings_are_answered_together_in_their_order() {
    let mut server = Recorded::serve(Hub::<u32>::builder().shards(1).build().unwrap()).await;
    let (mut client, _) = server.connect_raw().await;
    // The same in two fragments, both empty.
    let fragments = [frame(TEXT & !FIN, b""), frame(CONTINUATION | FIN, b"")].concat();
    let sent = [frame(TEXT, b""), frame(PING, b"1"), fragments, frame(PING, b"2")].concat();
    let writes = server.hub.stats().writes;
    client.send(&sent).await;
    for (opcode, payload) in [(TEXT, &b""[..]), (PONG, b"1"), (TEXT, b""), (PONG, b"2")] {
        assert_eq!(client.read_frame().await, Some((opcode, payload.to_vec())));
    }
    eventually("counted", || server.hub.stats().writes > writes).await;
    assert_eq!(server.hub.stats().writes, writes + 1);
}

/// A handler that holds its message until the test releases it.
struct Busy(Arc<Semaphore>);

impl Handler<u32> for Busy {
    async fn on_message(&self, conn: &Conn<u32>, number: u32) -> Result<(), Close> {
        self.0.acquire().await.expect("never closed").forget();
        conn.try_send(&number).expect("the connection is open");
        Ok(())
    }
}

#[tokio::test]
async fn heartbeat_is_answered_while_a_callback_runs() {
    let (hub, semaphore) = (Hub::<u32>::new(), Arc::new(Semaphore::new(0)));
    let server = serve(hub.handle(Busy(semaphore.clone()))).await;
    let mut client = Client::connect(server.addr, "/ws").await;
    client.send_text("1").await;
    client.send_text("").await;
    assert_eq!(client.next_data().await, Message::text(""));
    semaphore.add_permits(1);
    assert_eq!(client.get::<u32>().await, 1);
}

#[tokio::test]
async fn heartbeats_count_against_the_rate_of_messages() {
    let hub = Hub::<u32>::builder().message_rate(1, 2).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (mut client, _) = server.connect_raw().await;
    client.send(&frame(TEXT, b"").repeat(3)).await;
    for _ in 0..2 {
        assert_eq!(client.read_frame().await, Some((TEXT, vec![])));
    }
    assert_eq!(client.closed().await, (1_008, "too many messages".to_owned()));
    assert_eq!(server.hub.stats().closed_flooding, 1);
}

#[tokio::test]
async fn hub_without_heartbeats_passes_empty_text_to_its_codec() {
    let hub = Hub::<u32>::builder().heartbeats(false).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (mut client, _) = server.connect().await;
    client.send_text("").await;
    server.events.undecodable().await;

    let mut server = Recorded::serve(Hub::with_codec(Raw).build().unwrap()).await;
    let (mut client, _) = server.connect().await;
    client.send_text("").await;
    assert_eq!(server.events.message().await.1, RawMessage::Text(String::new()));
    assert_eq!(server.hub.stats().heartbeats, 0);

    let mut server = Recorded::serve(Hub::with_codec(Raw).heartbeats(true).build().unwrap()).await;
    let (mut client, _) = server.connect().await;
    client.send_text("").await;
    assert_eq!(client.next_data().await, Message::text(""));
    client.send(Message::binary("")).await;
    assert_eq!(server.events.message().await.1, RawMessage::Binary("".into()));
}

/// A codec that accepts only binary messages.
struct Bytes;

impl Codec<u8> for Bytes {
    fn encode(&self, byte: &u8, out: &mut Vec<u8>) -> Result<FrameKind, EncodeError> {
        out.push(*byte);
        Ok(FrameKind::Binary)
    }

    fn accepts(&self, kind: FrameKind) -> bool {
        kind == FrameKind::Binary
    }

    fn decode(&self, _: FrameKind, payload: &mut [u8]) -> Result<u8, DecodeError> {
        payload.first().copied().ok_or_else(|| DecodeError::new("empty"))
    }
}

#[tokio::test]
async fn heartbeat_is_answered_whatever_kind_of_message_the_codec_takes() {
    let mut server = Recorded::serve(Hub::with_codec(Bytes).build().unwrap()).await;
    let (mut client, _) = server.connect_raw().await;
    client.send(&frame(TEXT, b"")).await;
    assert_eq!(client.read_frame().await, Some((TEXT, vec![])));
    client.send(&frame(TEXT, b"x")).await;
    assert_eq!(client.closed().await.0, 1_003);
}
