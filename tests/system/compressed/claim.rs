//! The claim of all tests, for a stream to any server.

use futures_util::SinkExt;
use roomcast::{Compression, Conn, Hub, Raw, RawMessage};
use support::{Events, within};
use tokio::io::{AsyncRead, AsyncWrite};
use yawc::{CompressionLevel, Frame, OpCode, Options, WebSocket};

/// The largest message. Compressed it is larger than the buffers of sockets, and takes many records of TLS.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

const ROOM: &str = "room";

/// A hub with one shard that compresses for a single client.
pub(crate) fn hub() -> Hub<RawMessage> {
    Hub::with_codec(Raw)
        .shards(1)
        .compression(Compression::shared().min_recipients(1))
        .max_message_bytes(MESSAGE_BYTES_MAX)
        .send_buffer_bytes(2 * MESSAGE_BYTES_MAX)
        .build()
        .expect("the settings are in range")
}

/// Connects over a stream. The client gets the messages of a room, misses some, and sends the same messages.
pub(crate) async fn messages_are_compressed_both_ways<S>(
    stream: S,
    hub: &Hub<RawMessage>,
    events: &mut Events<RawMessage>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut client = connect(stream).await;
    let conn = events.open().await;
    let all: Vec<_> = (0..60).map(message).collect();
    hear(&mut client, hub, &conn, &all).await;
    let stats = hub.stats();
    let (before, after) = (stats.compressed_bytes_before, stats.compressed_bytes_after);
    assert!(before > all.iter().map(size).sum::<u64>() / 2, "{before} bytes left compressed");
    assert!(after < before * 2 / 3, "{before} bytes became {after}");
    assert!(stats.key_frames > 1, "the stream of the room begins anew: {stats:?}");

    for message in &all {
        within("a send", client.send(frame(message))).await.expect("the connection is open");
        assert!(events.message().await.1 == *message, "the hub inflates it");
    }
    let stats = hub.stats();
    assert_eq!(stats.compressed_in, all.len() as u64, "all messages of the client are compressed");
    assert!(stats.compressed_bytes_in < stats.bytes_in * 9 / 10, "{stats:?}");
}

async fn connect<S>(stream: S) -> WebSocket<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let options = Options::default()
        .with_compression_level(CompressionLevel::fast())
        .with_compression_threshold(0)
        .with_max_payload_read(2 * MESSAGE_BYTES_MAX);
    let url = "ws://localhost/ws".parse().expect("a URL");
    let handshake = WebSocket::handshake(url, stream, options);
    within("a handshake", handshake).await.expect("the hub accepts the offer")
}

/// Publishes all messages to the room, in bursts of three, and compares what the client gets. Once the client is
/// in another room for a message.
async fn hear<S>(
    client: &mut WebSocket<S>,
    hub: &Hub<RawMessage>,
    conn: &Conn<RawMessage>,
    all: &[RawMessage],
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    conn.join(ROOM).await.expect("the connection is open");
    for (number, burst) in all.chunks(3).enumerate() {
        if number == 5 {
            // The window of the client now has a message of another room.
            conn.leave(ROOM).await.expect("the connection is open");
            conn.join("other").await.expect("the connection is open");
            hub.to_room("other", &burst[0]).await.expect("the hub is open");
            expect(client, &burst[..1]).await;
            conn.leave("other").await.expect("the connection is open");
            conn.join(ROOM).await.expect("the connection is open");
        }
        for message in burst {
            hub.to_room(ROOM, message).await.expect("the hub is open");
        }
        expect(client, burst).await;
    }
}

async fn expect<S>(client: &mut WebSocket<S>, messages: &[RawMessage])
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for message in messages {
        let frame = within("a message", client.next_frame()).await.expect("the connection is open");
        let (opcode, payload) = (frame.opcode(), frame.into_payload());
        let got = match opcode {
            OpCode::Text => RawMessage::Text(String::from_utf8(payload.to_vec()).expect("text")),
            OpCode::Binary => RawMessage::Binary(payload),
            other => panic!("data was expected, not {other:?}"),
        };
        assert!(got == *message, "{} bytes instead of {}", size(&got), size(message));
    }
}

fn frame(message: &RawMessage) -> Frame {
    match message {
        RawMessage::Text(text) => Frame::text(text.clone()),
        RawMessage::Binary(bytes) => Frame::binary(bytes.clone()),
    }
}

fn size(message: &RawMessage) -> u64 {
    match message {
        RawMessage::Text(text) => text.len() as u64,
        RawMessage::Binary(bytes) => bytes.len() as u64,
    }
}

/// Text, or hexadecimal digits, of which deflate saves half. The largest has 1 MB: the hub compresses no message of more
/// than 1 MiB.
fn message(number: usize) -> RawMessage {
    let length = match number {
        40 => 1_000_000,
        _ => 50 * number,
    };
    if number % 2 == 1 {
        return RawMessage::Text(
            format!("the {number}th text 語 for the whole room ").repeat(2 + number % 9),
        );
    }
    let mut state = number as u64;
    let digit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        b"0123456789abcdef"[(state >> 60) as usize]
    };
    RawMessage::Binary(std::iter::repeat_with(digit).take(length).collect())
}
