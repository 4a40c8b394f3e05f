//! `?` in callbacks: each error of the crate closes the connection with a matching code, and is counted.

use roomcast::{
    Close, CloseCode, Codec, Conn, DecodeError, DisconnectReason, EncodeError, FrameKind, Handler,
    Hub, Json, Target,
};

use support::{Client, Recorded, eventually, serve};

/// Text with one value that cannot be encoded: `secret`.
struct Discreet;

impl Codec<String> for Discreet {
    fn encode(&self, text: &String, out: &mut Vec<u8>) -> Result<FrameKind, EncodeError> {
        match &**text {
            "secret" => Err(EncodeError::new("the text is a secret")),
            _ => Json::new().encode(text, out),
        }
    }

    fn accepts(&self, kind: FrameKind) -> bool {
        kind == FrameKind::Text
    }

    fn decode(&self, kind: FrameKind, payload: &mut [u8]) -> Result<String, DecodeError> {
        Json::new().decode(kind, payload)
    }
}

/// Calls what the client's message names, on a hub whose room names have at most four bytes.
struct Obedient;

impl Handler<String> for Obedient {
    async fn on_connect(&self, conn: &Conn<String>) -> Result<(), Close> {
        let room = conn.query("room").unwrap_or_default();
        conn.join(&room).await?;
        Ok(())
    }

    async fn on_message(&self, conn: &Conn<String>, text: String) -> Result<(), Close> {
        match &*text {
            "join" => conn.join("a long name").await?,
            "join all" => conn.hub().join(&Target::everyone(), "a long name").await?,
            "send" => conn.send(&"secret".to_owned()).await?,
            "publish" => conn.hub().broadcast(&"secret".to_owned()).await?,
            "closed" => {
                conn.hub().shutdown_now();
                conn.hub().broadcast(&text).await?;
            }
            "ended" => {
                conn.close_with(CloseCode::from(4_000), "as it was told to");
                conn.send(&text).await?;
            }
            _ => conn.leave("none").await?,
        }
        conn.send(&text).await?;
        Ok(())
    }

    async fn on_decode_error(&self, _: &Conn<String>, error: DecodeError) -> Result<(), Close> {
        Err(error.into())
    }

    async fn on_disconnect(&self, conn: &Conn<String>, _: &DisconnectReason) -> Result<(), Close> {
        conn.hub().broadcast(&"secret".to_owned()).await?;
        Ok(())
    }
}

#[tokio::test]
async fn callback_errors_close_with_a_matching_code() {
    let expected = [
        ("join", 1_008, "room name too long: 11 of at most 4 bytes"),
        ("join all", 1_008, "room name too long: 11 of at most 4 bytes"),
        ("send", 1_011, "internal error"),
        ("publish", 1_011, "internal error"),
        ("closed", 1_001, "hub closed"),
        ("ended", 4_000, "as it was told to"),
    ];
    for (text, code, reason) in expected {
        let hub = Hub::with_codec(Discreet).max_room_name_bytes(4).build().unwrap();
        let server = serve(hub.handle(Obedient)).await;
        let mut client = Client::connect(server.addr, "/ws").await;
        client.send_text(format!("{text:?}")).await;
        assert_eq!(client.closed().await, (code, reason.to_owned()), "{text}");
        // The error of the callback counts unless the connection was ending. The error of `on_disconnect` counts too.
        // No error counts if the hub is closed.
        let count = match text {
            "closed" => 0,
            "ended" => 1,
            _ => 2,
        };
        eventually("all is counted", || hub.stats().callback_errors == count).await;
    }
}

#[tokio::test]
async fn on_connect_error_rejects_and_on_decode_error_error_closes() {
    let hub = Hub::with_codec(Discreet).max_room_name_bytes(4).build().unwrap();
    let server = serve(hub.handle(Obedient)).await;
    let mut client = Client::connect(server.addr, "/ws?room=a+long+name").await;
    assert_eq!(client.closed().await.0, 1_008);
    let mut client = Client::connect(server.addr, "/ws").await;
    client.send_text("no JSON").await;
    assert_eq!(client.closed().await, (1_007, "message not decodable".to_owned()));
    eventually("both are counted, twice", || hub.stats().callback_errors == 4).await;
}

#[tokio::test]
async fn callback_without_an_error_keeps_the_connection_open() {
    let hub = Hub::with_codec(Discreet).build().unwrap();
    let server = serve(hub.handle(Obedient)).await;
    let mut client = Client::connect(server.addr, "/ws").await;
    client.send_text("\"leave\"").await;
    assert_eq!(client.get::<String>().await, "leave");
    assert_eq!(hub.stats().callback_errors, 0);
}

/// Each closure returns nothing or a result.
#[tokio::test]
async fn closures_return_nothing_or_a_result() {
    let hub = Hub::<u32>::new();
    let handlers = hub
        .handlers()
        .on_connect(|conn| async move {
            conn.join("room").await?;
            Ok(())
        })
        .on_message(|conn, number| async move {
            if number == 0 {
                return Err(Close::new(CloseCode::from(4_001), "zero"));
            }
            conn.hub().to_room("room", &(100 / number)).await?;
            Ok(())
        })
        .on_decode_error(|conn, _| async move { conn.close() })
        .on_disconnect(|_, reason| async move { drop(reason) });
    let server = serve(hub.handle(handlers)).await;
    let mut client = Client::connect(server.addr, "/ws").await;
    client.send_text("4").await;
    assert_eq!(client.get::<u32>().await, 25);
    client.send_text("0").await;
    assert_eq!(client.closed().await, (4_001, "zero".to_owned()));
    let mut client = Client::connect(server.addr, "/ws").await;
    client.send_text("none").await;
    assert_eq!(client.closed().await.0, 1_000);
}

/// A callback that fails because its client vanished is not a fault of the callback.
#[tokio::test]
async fn callback_failure_for_a_vanished_client_is_not_counted() {
    let mut server = Recorded::serve(Hub::<u32>::new()).await;
    let (client, conn) = server.connect().await;
    drop(client);
    server.events.ended().await;
    let close: Close = conn.send(&1).await.unwrap_err().into();
    assert_eq!(close.code, CloseCode::GOING_AWAY);
    assert_eq!(server.hub.stats().callback_errors, 0);
}
