//! The messages of the JavaScript client: addresses, parsing, and bounded queues.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::driver::Tab;
use crate::scripted::{Scripted, Visit};
use crate::stage::Stage;

#[tokio::test]
async fn address_encodes_parameters_and_rejects_invalid_path_segments() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    let address = format!("http://{}/ws/{{room}}?token={{token}}", server.addr);
    tab.start_client(&address, "{ params: { room: 'a/b? \u{fc}', token: '1&2' } }").await;
    assert_eq!(server.accept().await.path, "/ws/a%2Fb%3F%20%C3%BC?token=1%262");
    let bad = "return ['', '.', '..', undefined].map(room => {
        try { return new client.constructor('/{room}', { params: { room } }); }
        catch ({ name }) { return name; }
    })";
    assert_eq!(tab.run(bad).await, json!(vec!["RangeError"; 4]));
}

#[tokio::test]
async fn client_parses_json_and_reports_other_messages_as_undecodable() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    tab.start_client(&format!("ws://{}", server.addr), "{}").await;
    let mut visit = server.accept().await;
    visit.say("no JSON").await;
    visit.say(Message::binary("{}")).await;
    visit.say(r#"{"text":"hello"}"#).await;
    visit.say("null").await;
    tab.eventually("messages", json!([{ "text": "hello" }, null])).await;
    tab.eventually("undecodable", json!(2)).await;
}

/// Sends texts. Returns the fate of each text, and the numbers of queued and dropped messages.
async fn send(tab: &Tab<'_>, texts: &[&str]) -> Value {
    let texts = json!(texts);
    let sent = format!("{texts}.map(text => client.send(text))");
    tab.run(&format!("return [{sent}, client.queued, client.dropped]")).await
}

#[tokio::test]
async fn queue_bounds_messages_and_sends_them_in_order_after_the_greeting() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    let options =
        "{ queueMax: 2, onstate: ({ name }) => name === 'open' && client.send('greeting') }";
    tab.start_client(&format!("ws://{}", server.addr), options).await;
    let stream = server.knock().await;
    let sent = send(&tab, &["one", "two", "three"]).await;
    assert_eq!(sent, json!([["queued", "queued", "dropped"], 2, 1]));
    let mut visit = Visit::accept(stream).await;
    for text in ["greeting", "one", "two"] {
        assert_eq!(visit.hear().await, format!("\"{text}\""));
    }
    assert_eq!(send(&tab, &["now"]).await, json!([["sent"], 0, 1]));
    assert_eq!(visit.hear().await, r#""now""#);
}

#[tokio::test]
async fn queue_bounds_bytes_and_is_off_by_default() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    let address = format!("ws://{}", server.addr);
    tab.start_client(&address, "{ queueMax: 9, bufferBytesMax: 10 }").await;
    let _stream = server.knock().await;
    // With quotes these are four bytes, four, three and two.
    let sent = send(&tab, &["ab", "\u{fc}", "a", ""]).await;
    assert_eq!(sent, json!([["queued", "queued", "dropped", "queued"], 3, 1]));
    // A browser makes only one handshake with a server at a time.
    tab.run("client.close()").await;

    tab.start_client(&address, "{}").await;
    let _stream = server.knock().await;
    assert_eq!(send(&tab, &["waits"]).await, json!([["dropped"], 0, 1]));
}

#[tokio::test]
async fn client_bounds_the_bytes_that_wait_for_the_network() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    let address = format!("ws://{}", server.addr);
    tab.start_client(&address, "{ queueMax: 9, bufferBytesMax: 10_000 }").await;
    let mut visit = server.accept().await;
    tab.client_is("open").await;
    // A thousand bytes with the quotes; nothing leaves while a script runs.
    let flood = "let sent = 0;
        while (sent < 100 && client.send('x'.repeat(998)) === 'sent') sent++;
        return [sent, client.queued, client.dropped]";
    assert_eq!(tab.run(flood).await, json!([10, 0, 1]));
    for _ in 0..10 {
        assert_eq!(visit.hear().await.len(), 1_000);
    }
    tab.eventually("client.send('more')", json!("sent")).await;
    assert_eq!(visit.hear().await, r#""more""#);
}
