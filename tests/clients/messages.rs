//! Messages: typed, and raw.

use roomcast::test::{RecvError, TestServer};
use roomcast::{
    Close, CloseCode, Codec, Conn, DecodeError, EncodeError, FrameKind, Handler, Hub, Never, Raw,
    RawMessage, SendError,
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{NEVER, receives_nothing};

/// The server sends one type and accepts another type.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Came { members: usize },
    Said { text: String },
}

#[derive(Serialize, Deserialize)]
struct Say {
    text: String,
}

struct Chat;

impl Handler<Event, Say> for Chat {
    async fn on_connect(&self, conn: &Conn<Event, Say>) -> Result<(), Close> {
        let room = conn.path_room();
        conn.join(&room).await?;
        let members = conn.hub().member_count(&room);
        conn.hub().to_room(&room, &Event::Came { members }).await?;
        Ok(())
    }

    async fn on_message(&self, conn: &Conn<Event, Say>, say: Say) -> Result<(), Close> {
        conn.hub().to_room(&conn.path_room(), &Event::Said { text: say.text }).await?;
        Ok(())
    }
}

/// The last part of the path.
trait PathRoom {
    fn path_room(&self) -> String;
}

impl PathRoom for Conn<Event, Say> {
    fn path_room(&self) -> String {
        self.query("room").expect("clients name their room").into_owned()
    }
}

fn say(text: &str) -> Say {
    Say { text: text.to_owned() }
}

fn said(text: &str) -> Event {
    Event::Said { text: text.to_owned() }
}

#[tokio::test(start_paused = true)]
async fn messages_reach_their_room_in_order_and_no_other() {
    let hub = Hub::<Event, Say>::new();
    let server = TestServer::new("/ws", hub.handle(Chat));
    let mut ann = server.connect("/ws?room=tea").await.unwrap();
    let mut bob = server.connect("/ws?room=tea").await.unwrap();
    let mut eve = server.connect("/ws?room=coffee").await.unwrap();
    assert_eq!(ann.recv().await.unwrap(), Event::Came { members: 1 });
    for client in [&mut ann, &mut bob] {
        assert_eq!(client.recv().await.unwrap(), Event::Came { members: 2 });
    }
    assert_eq!(eve.recv().await.unwrap(), Event::Came { members: 1 });
    for number in 0..100 {
        ann.send(&say(&number.to_string())).await.unwrap();
    }
    for client in [&mut ann, &mut bob] {
        for number in 0..100 {
            assert_eq!(client.recv().await.unwrap(), said(&number.to_string()));
        }
        receives_nothing(client).await;
    }
    receives_nothing(&mut eve).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_is_in_its_room_when_connect_returns_with_threads_and_real_time() {
    let hub = Hub::<Event, Say>::builder().shards(2).build().unwrap();
    let server = TestServer::new("/ws", hub.handle(Chat));
    let mut clients = Vec::new();
    for count in 1..=50 {
        clients.push(server.connect("/ws?room=tea").await.unwrap());
        assert_eq!(hub.member_count("tea"), count);
    }
    hub.to_room("tea", &said("hello")).await.unwrap();
    for client in &mut clients {
        while client.recv().await.unwrap() != said("hello") {}
    }
}

#[tokio::test(start_paused = true)]
async fn hub_that_only_sends_closes_a_client_that_sends() {
    let hub = Hub::<u32, Never>::new();
    let server = TestServer::new("/", hub.handle(hub.handlers()));
    let mut client = server.connect("/").await.unwrap();
    hub.broadcast(&7).await.unwrap();
    assert_eq!(client.recv().await.unwrap(), 7);
    client.send_text("7").await.unwrap();
    assert_eq!(client.closed().await.code, CloseCode::UNSUPPORTED);
}

#[tokio::test(start_paused = true)]
async fn binary_and_text_of_any_length_pass_unchanged() {
    let hub = Hub::with_codec(Raw).max_message_bytes(1 << 20).build().unwrap();
    let echo = hub.handlers().on_message(async |conn, message| Ok(conn.send(&message).await?));
    let server = TestServer::with_codec(Raw, "/", hub.handle(echo));
    let mut client = server.connect("/").await.unwrap();
    for bytes in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        let (text, binary) = ("é".repeat(bytes / 2), vec![7; bytes]);
        client.send_text(&text).await.unwrap();
        client.send_binary(&binary).await.unwrap();
        assert_eq!(client.recv_raw().await.unwrap(), RawMessage::Text(text), "{bytes} bytes");
        assert_eq!(client.recv().await.unwrap(), RawMessage::Binary(binary.into()));
    }
}

/// Encodes as an upper-case letter, in binary, and fails on everything else.
struct Letters;

impl Codec<char> for Letters {
    fn encode(&self, letter: &char, out: &mut Vec<u8>) -> Result<FrameKind, EncodeError> {
        let is_known = letter.is_ascii_uppercase();
        is_known.then(|| out.push(*letter as u8)).ok_or_else(|| EncodeError::new("no letter"))?;
        Ok(FrameKind::Binary)
    }

    fn accepts(&self, kind: FrameKind) -> bool {
        kind == FrameKind::Binary
    }

    fn decode(&self, _: FrameKind, payload: &mut [u8]) -> Result<char, DecodeError> {
        match payload {
            [letter] if letter.is_ascii_uppercase() => Ok(char::from(*letter)),
            _ => Err(DecodeError::new("no letter")),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_cannot_be_encoded_or_decoded_are_errors_and_the_client_stays_open() {
    let hub = Hub::with_codec(Raw).build().unwrap();
    let echo = hub.handlers().on_message(async |conn, message| Ok(conn.send(&message).await?));
    let server = TestServer::with_codec(Raw, "/", hub.handle(echo));
    // A client with another codec cannot decode the messages.
    let letters = Hub::with_codec(Letters).build().unwrap();
    let refusing = letters
        .handlers()
        .on_decode_error(async |conn, _| Ok(conn.send(&'E').await?))
        .on_message(async |conn, letter| Ok(conn.send(&letter).await?));
    let letters = TestServer::with_codec(Letters, "/", letters.handle(refusing));
    let mut client = letters.connect("/").await.unwrap();
    assert!(matches!(client.send(&'a').await, Err(SendError::Encode(_))));
    client.send_binary(b"ab").await.unwrap();
    client.send(&'X').await.unwrap();
    assert_eq!(client.recv().await.unwrap(), 'E');
    assert_eq!(client.recv().await.unwrap(), 'X');

    let mut client = server.connect("/").await.unwrap();
    client.send_text("").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), RawMessage::Text(String::new()));
}

#[tokio::test(start_paused = true)]
async fn message_that_the_client_cannot_decode_is_returned_raw() {
    let hub = Hub::<serde_json::Value>::new();
    let server = roomcast::Server::in_memory().route("/", hub.handle(hub.handlers())).unwrap();
    let server = TestServer::<Event, Say>::of(server);
    let mut client = server.connect("/").await.unwrap();
    hub.broadcast(&serde_json::json!({ "Said": {} })).await.unwrap();
    hub.broadcast(&serde_json::json!({ "Said": { "text": "hello" } })).await.unwrap();
    let Err(RecvError::Decode { message, .. }) = client.recv().await else { panic!() };
    assert_eq!(message, RawMessage::Text(r#"{"Said":{}}"#.to_owned()));
    assert_eq!(client.recv().await.unwrap(), said("hello"));
}

#[tokio::test(start_paused = true)]
async fn heartbeat_is_answered_by_the_hub() {
    let hub = Hub::<u32>::new();
    let server = TestServer::new("/", hub.handle(hub.handlers()));
    let mut client = server.connect("/").await.unwrap();
    client.send_text("").await.unwrap();
    assert_eq!(client.recv_raw().await.unwrap(), RawMessage::Text(String::new()));
    assert_eq!(hub.stats().heartbeats, 1);
}

#[tokio::test(start_paused = true)]
async fn cancelled_receive_loses_no_message() {
    let hub = Hub::<u32>::new();
    let server = TestServer::new("/", hub.handle(hub.handlers()));
    let mut client = server.connect("/").await.unwrap();
    for number in 0..100 {
        timeout(NEVER, client.recv()).await.expect_err("nothing was sent");
        hub.broadcast(&number).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), number);
    }
}
