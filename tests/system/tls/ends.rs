//! The end of connections over TLS: `close_notify` with and without a close frame before it.

use roomcast::{Close, Conn, Handler, Hub, Raw, RawMessage};
use rustls::client::ClientConnection;
use std::io::Write;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::{Files, over_tls};
use support::{
    CLOSE, Listening, Recorded, TEXT, bind, close_payload, frame, frames, upgrade_request, within,
};

/// Gives each message back to its sender.
struct Echo;

impl Handler<RawMessage> for Echo {
    async fn on_message(&self, conn: &Conn<RawMessage>, message: RawMessage) -> Result<(), Close> {
        // The hub counts dropped messages.
        let _ = conn.send(&message).await;
        Ok(())
    }
}

/// A connection after both handshakes.
async fn enter(files: &Files, server: &Listening) -> TlsStream<TcpStream> {
    let mut stream = files.connect(server.addr).await.expect("trusted");
    stream.write_all(upgrade_request("/ws").as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("a head", stream.read_u8()).await.expect("the data is complete"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}

/// Sends these bytes and `close_notify` in one write, and leaves the TCP connection open.
async fn send_and_notify(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) {
    let (tcp, session) = stream.get_mut();
    let records = sealed(session, bytes);
    tcp.write_all(&records).await.expect("sent");
}

fn sealed(session: &mut ClientConnection, bytes: &[u8]) -> Vec<u8> {
    session.writer().write_all(bytes).expect("the session takes them");
    session.send_close_notify();
    let mut records = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut records).expect("a vector takes all");
    }
    records
}

/// Reads up to `close_notify`; an end without `close_notify` is an error.
async fn read_to_notify(stream: &mut TlsStream<TcpStream>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let end = within("the end", stream.read_to_end(&mut bytes)).await;
    end.expect("the server says that it has ended");
    bytes
}

async fn echo_server(files: &Files, shards: usize) -> Listening {
    let hub: Hub<RawMessage> = Hub::with_codec(Raw).shards(shards).build().expect("a hub");
    let server = bind().await.tls(&files.load().expect("good files"));
    Listening::run(server.route("/ws", hub.handle(Echo)).expect("a free path"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_arrives_before_the_answer_to_a_close_frame_sent_with_close_notify() {
    let files = Files::new("end-at-once");
    let close = frame(CLOSE, &close_payload(1_000, b""));
    let bytes = [frame(TEXT, b"hello"), close].concat();
    for shards in [1, 2] {
        let server = echo_server(&files, shards).await;
        let mut answered = 0;
        for _ in 0..50 {
            let mut stream = enter(&files, &server).await;
            send_and_notify(&mut stream, &bytes).await;
            let got = read_to_notify(&mut stream).await;
            let got = frames(&got);
            let (&last, messages) = got.split_last().expect("a close frame at least");
            assert_eq!(last, (CLOSE, &close_payload(1_000, b"")[..]));
            answered += messages.len();
        }
        assert_eq!(answered, 50, "so many of 50 have got their echo, of {shards} shards");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_arrives_before_the_answer_to_close_notify() {
    let files = Files::new("end-without-close");
    let server = echo_server(&files, 1).await;
    let mut answered = 0;
    for _ in 0..50 {
        let mut stream = enter(&files, &server).await;
        send_and_notify(&mut stream, &frame(TEXT, b"hello")).await;
        let mut bytes = Vec::new();
        // Another test checks how the stream ends.
        let _ = within("the end", stream.read_to_end(&mut bytes)).await;
        answered += usize::from(frames(&bytes) == [(TEXT, &b"hello"[..])]);
    }
    assert_eq!(answered, 50, "so many of 50 have got their echo");
}

#[tokio::test]
async fn close_notify_is_answered_by_close_notify() {
    let files = Files::new("notify");
    let hub = Hub::with_codec(Raw).build().expect("a hub");
    let mut recorded: Recorded<RawMessage> =
        over_tls(hub, &files.load().expect("good files")).await;
    let mut stream = enter(&files, &recorded.server).await;
    recorded.events.open().await;
    send_and_notify(&mut stream, b"").await;
    read_to_notify(&mut stream).await;
    recorded.events.ended().await;
}
