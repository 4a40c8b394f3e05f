//! A hub that sends messages of one type and accepts messages of another type.

use roomcast::{Close, CloseCode, Conn, DisconnectReason, Handler, Hub, Never};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use support::{Client, eventually, serve};

/// The messages of clients.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Say {
    text: String,
}

/// The messages of the hub. The type has no `Deserialize`, because a hub never decodes its own messages.
#[derive(Serialize)]
enum Event {
    Said { by: &'static str, text: String },
}

struct Chat;

impl Handler<Event, Say> for Chat {
    async fn on_connect(&self, conn: &Conn<Event, Say>) -> Result<(), Close> {
        conn.join("lobby").await?;
        Ok(())
    }

    async fn on_message(&self, conn: &Conn<Event, Say>, say: Say) -> Result<(), Close> {
        let said = Event::Said { by: "ann", text: say.text };
        conn.hub().to_room("lobby", &said).await?;
        Ok(())
    }
}

#[tokio::test]
async fn hub_sends_one_type_and_accepts_another() {
    let hub = Hub::<Event, Say>::new();
    let server = serve(hub.handle(Chat)).await;
    let mut client = Client::connect(server.addr, "/ws").await;
    client.send_text(r#"{"text":"hi","by":"eve"}"#).await;
    client.send_text(r#"{"text":"hi"}"#).await;
    assert_eq!(client.next_text().await, r#"{"Said":{"by":"ann","text":"hi"}}"#);
    assert_eq!(hub.stats().decode_errors, 1, "a field too many is no message");
}

struct Ticker(UnboundedSender<DisconnectReason>);

impl Handler<Event, Never> for Ticker {
    async fn on_disconnect(
        &self,
        _: &Conn<Event, Never>,
        reason: &DisconnectReason,
    ) -> Result<(), Close> {
        self.0.send(reason.clone()).expect("the test listens");
        Ok(())
    }
}

#[tokio::test]
async fn send_only_hub_closes_clients_that_send() {
    let hub = Hub::<Event, Never>::new();
    let (sender, mut ended) = unbounded_channel();
    let server = serve(hub.handle(Ticker(sender))).await;
    let mut client = Client::connect(server.addr, "/ws").await;
    let mut talker = Client::connect(server.addr, "/ws").await;
    eventually("both are open", || hub.count() == 2).await;
    talker.send_text("").await;
    assert_eq!(talker.next_text().await, "", "heartbeats are answered");
    talker.send_text(r#"{"text":"hi"}"#).await;
    assert_eq!(talker.closed().await.0, u16::from(CloseCode::UNSUPPORTED));
    assert!(matches!(ended.recv().await, Some(DisconnectReason::Protocol(_))));
    let said = Event::Said { by: "ann", text: "to all".to_owned() };
    hub.try_broadcast(&said).unwrap();
    assert_eq!(client.next_text().await, r#"{"Said":{"by":"ann","text":"to all"}}"#);
}
