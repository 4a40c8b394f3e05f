//! The examples as programs: the test starts each example as its first lines say, and checks its effect.

use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_tungstenite::tungstenite::Message;

use support::Client;
use support::programs::{Chat, example};

fn start(name: &str) -> Chat {
    let mut command = Command::new(example(name));
    Chat::start(command.env("LISTEN", "127.0.0.1:0")).expect("the example starts")
}

async fn enter(server: &Chat, path: &str) -> Client {
    Client::connect(server.addr, path).await
}

#[tokio::test]
async fn chat_sends_a_members_message_to_its_room() {
    let mut server = start("chat");
    let (mut ann, mut bob) = (enter(&server, "/ws/tea").await, enter(&server, "/ws/tea").await);
    let said = r#"{"text":"hello","user":"ann","seq":1,"ts":1.5}"#;
    bob.send_text(said).await;
    assert_eq!(bob.next_text().await, said, "bob is a member by now");
    ann.send_text(said).await;
    assert_eq!(bob.next_text().await, said);
    let process = Pid::from_raw(server.process.0.id() as i32);
    kill(process, Signal::SIGTERM).expect("it runs");
    assert_eq!(bob.closed().await.0, 1001, "the server goes away");
    drop((ann, bob));
    assert!(server.process.0.wait().expect("it is ours").success());
}

#[tokio::test]
async fn ticker_sends_prices_and_closes_a_client_that_sends() {
    let server = start("ticker");
    let mut watcher = enter(&server, "/prices/ACME").await;
    let mut other = enter(&server, "/prices/ACME").await;
    let price = watcher.next_text().await;
    assert!(price.starts_with(r#"{"share":"ACME","cents":1"#), "{price}");
    other.send_text("1").await;
    // Prices arrive until the server has read the client's message.
    let close = loop {
        match other.next().await.expect("a close frame comes") {
            Message::Close(frame) => break frame.expect("it has a code"),
            price => assert!(price.is_text()),
        }
    };
    assert_eq!(u16::from(close.code), 1003);
    assert!(Client::try_connect(server.addr, "/prices/INC").await.is_err());
}

#[tokio::test]
async fn notifications_reach_all_tabs_of_a_user() {
    let server = start("notifications");
    let mut tabs = [enter(&server, "/?token=t-ann").await, enter(&server, "/?token=t-ann").await];
    let mut bob = enter(&server, "/?token=t-bob").await;
    for tab in &mut tabs {
        // A client that receives the announcement of its own join has joined.
        tab.send_text(r#""a note""#).await;
        tab.next_text().await;
    }
    bob.send_text(r#""ann: hello""#).await;
    for tab in &mut tabs {
        let text = loop {
            let text = tab.next_text().await;
            if text.contains("bob") {
                break text;
            }
        };
        assert_eq!(text, r#""bob writes: hello""#);
    }
    assert!(Client::try_connect(server.addr, "/?token=t-eve").await.is_err());
}

#[tokio::test]
async fn moderator_lists_mutes_and_kicks() {
    let server = start("moderated");
    let mut admin = enter(&server, "/?name=admin").await;
    let mut bob = enter(&server, "/?name=bob").await;
    bob.send_text(r#"{"say":"hello"}"#).await;
    let hello = r#"{"said":{"by":"bob","text":"hello"}}"#;
    assert_eq!(bob.next_text().await, hello, "bob is a member by now");
    bob.send_text(r#"{"kick":"admin"}"#).await;
    assert_eq!(bob.next_text().await, r#""refused""#);
    admin.send_text(r#""list""#).await;
    let members = loop {
        let text = admin.next_text().await;
        if text.contains("members") {
            break text;
        }
    };
    assert!(members.contains("bob") && members.contains("admin"), "{members}");
    admin.send_text(r#"{"mute":"bob"}"#).await;
    admin.send_text(r#""list""#).await;
    admin.next_text().await;
    bob.send_text(r#"{"say":"hello"}"#).await;
    assert_eq!(bob.next_text().await, r#""refused""#);
    admin.send_text(r#"{"kick":"bob"}"#).await;
    assert_eq!(bob.closed().await, (4_003, "kicked".to_owned()));
}

#[tokio::test]
async fn game_sends_the_world_and_moves_players() {
    let server = start("game");
    let mut player = enter(&server, "/").await;
    assert!(player.next_text().await.starts_with(r#"{"tick":"#));
    player.send_text(r#"{"dx":1,"dy":-0.5}"#).await;
    loop {
        let world = player.next_text().await;
        if world.ends_with(r#""players":[[1.0,-0.5]]}"#) {
            break;
        }
    }
}

#[tokio::test]
async fn history_sends_past_messages_to_a_joiner() {
    let server = start("history");
    let mut ann = enter(&server, "/lobby").await;
    for text in [r#""one""#, r#""two""#] {
        ann.send_text(text).await;
        assert_eq!(ann.next_text().await, text);
    }
    let mut bob = enter(&server, "/lobby").await;
    assert_eq!([bob.next_text().await, bob.next_text().await], [r#""one""#, r#""two""#]);
}
