//! The page of the chat, used as people use it.

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use fantoccini::Locator;
use serde_json::json;

use crate::driver::{Browser, Tab, eventually};
use support::programs::{Chat, Process, example};
use support::servers;

fn start_chat(listen: &str) -> io::Result<Chat> {
    Chat::start(Command::new(example("load_server")).args(["--listen", listen]))
}

/// Ends a process as a service manager does.
fn terminate(process: &Process) {
    // The shell's `kill` is always available; the program `kill` needs a package.
    let script = format!("kill -TERM {}", process.0.id());
    let status = Command::new("sh").args(["-c", &script]).status().expect("the system has a shell");
    assert!(status.success(), "{script}: {status}");
}

/// Starts a new server at the address of the old server.
fn restart_at(addr: SocketAddr) -> Chat {
    eventually(|| start_chat(&addr.to_string())).expect("the port is free again")
}

/// Records each text that the page shows about its connection, however briefly.
const NOTE_STATES: &str = "window.seen = [];
    const state = document.querySelector('#state');
    const note = () => seen.push(state.textContent);
    new MutationObserver(note).observe(state, { childList: true });";

impl Tab<'_> {
    async fn fill(&self, field: &str, text: &str) {
        self.select().await;
        let input = self.client.find(Locator::Id(field)).await.expect(field);
        input.clear().await.expect("the field can be cleared");
        input.send_keys(text).await.expect("the field accepts text");
    }

    async fn say(&self, text: &str) {
        self.fill("text", text).await;
        let button = self.client.find(Locator::Id("send")).await.expect("a button");
        button.click().await.expect("the button can be clicked");
    }

    async fn state_becomes(&self, state: &str) {
        self.eventually("document.querySelector('#state').dataset.state", json!(state)).await;
    }

    async fn count_becomes(&self, id: &str, count: u32) {
        let expression = format!("document.querySelector('#{id}').dataset.value");
        self.eventually(&expression, json!(count.to_string())).await;
    }

    /// Waits until exactly these messages are shown, each with its user, and as text without
    /// elements inside.
    async fn messages_become(&self, expected: &[(&str, &str)]) {
        let shown = "Array.from(document.querySelectorAll('#messages li'), item => \
            ['.user', '.text'].map(part => item.querySelector(part)).map(part => \
            part.childElementCount === 0 ? part.textContent : part.outerHTML))";
        self.eventually(shown, json!(expected)).await;
    }
}

#[tokio::test]
async fn two_tabs_chat_and_reconnect_after_a_server_restart() {
    let server = start_chat("127.0.0.1:0").expect("the load server starts");
    let addr = server.addr;
    let url = format!("http://{addr}/#tea");
    let browser = Browser::start().await;
    let ann = browser.open(&url, true).await;
    let bob = browser.open(&url, false).await;
    ann.fill("name", "Ann").await;
    bob.fill("name", "<i>Bob</i>").await;

    for tab in [&ann, &bob] {
        tab.state_becomes("open").await;
        tab.count_becomes("members", 2).await;
        tab.count_becomes("counter-connections", 2).await;
    }
    ann.say("hello").await;
    let hello = ("Ann", "hello");
    ann.messages_become(&[hello]).await;
    bob.messages_become(&[hello]).await;

    let markup = ("<i>Bob</i>", "<img src=x onerror=\"document.body.remove()\"> & <b>bold</b>");
    bob.say(markup.1).await;
    bob.messages_become(&[hello, markup]).await;
    ann.messages_become(&[hello, markup]).await;

    drop(server.process);
    for tab in [&ann, &bob] {
        tab.state_becomes("waiting").await;
    }
    let _server = restart_at(addr);
    for tab in [&ann, &bob] {
        tab.state_becomes("open").await;
        tab.count_becomes("members", 2).await;
    }
    ann.say("back").await;
    let back = ("Ann", "back");
    ann.messages_become(&[hello, markup, back]).await;
    bob.messages_become(&[hello, markup, back]).await;
}

#[tokio::test]
async fn page_hides_the_counters_if_the_server_has_none() {
    let mut command = Command::new(example("chat"));
    let server = Chat::start(command.env("LISTEN", "127.0.0.1:0")).expect("the chat starts");
    let browser = Browser::start().await;
    let url = format!("http://{}/#tea", server.addr);
    let (ann, bob) = (browser.open(&url, true).await, browser.open(&url, false).await);
    for tab in [&ann, &bob] {
        tab.state_becomes("open").await;
        tab.select().await;
        tab.eventually("document.querySelector('aside').hidden", json!(true)).await;
    }
    ann.fill("name", "Ann").await;
    ann.say("hello").await;
    for tab in [&ann, &bob] {
        tab.messages_become(&[("Ann", "hello")]).await;
    }
}

#[tokio::test]
async fn tabs_reconnect_after_a_graceful_shutdown_and_restart() {
    let mut command = Command::new(example("load_server"));
    let command = command.args(["--listen", "127.0.0.1:0", "--shutdown-seconds", "1"]);
    let server = Chat::start(command).expect("the load server starts");
    let browser = Browser::start().await;
    let url = format!("http://{}/#tea", server.addr);
    let (ann, bob) = (browser.open(&url, true).await, browser.open(&url, false).await);
    for tab in [&ann, &bob] {
        tab.state_becomes("open").await;
        tab.count_becomes("members", 2).await;
    }

    for tab in [&ann, &bob] {
        tab.run(NOTE_STATES).await;
    }
    terminate(&server.process);
    for tab in [&ann, &bob] {
        let hint =
            "/^Closed with 1012: hub shut down retry-after-ms=[1-5]\\d{3} · reconnecting in/";
        tab.eventually(&format!("seen.some(text => {hint}.test(text))"), json!(true)).await;
    }
    let _server = restart_at(server.addr);
    for tab in [&ann, &bob] {
        tab.state_becomes("open").await;
        tab.count_becomes("members", 2).await;
    }
    bob.say("back").await;
    for tab in [&ann, &bob] {
        tab.messages_become(&[("anonymous", "back")]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_redis_form_one_chat() {
    let mut redis = servers::RedisServer::start();
    let start = || {
        let mut command = Command::new(example("load_server"));
        let command = command.args(["--listen", "127.0.0.1:0", "--redis", &redis.url()]);
        Chat::start(command).expect("the load server starts")
    };
    let (first, second) = (start(), start());
    let browser = Browser::start().await;
    let ann = browser.open(&format!("http://{}/#tea", first.addr), true).await;
    let bob = browser.open(&format!("http://{}/#tea", second.addr), false).await;
    ann.fill("name", "Ann").await;
    bob.fill("name", "Bob").await;
    let backplane = "document.querySelector('#backplane-state').textContent";
    for tab in [&ann, &bob] {
        tab.state_becomes("open").await;
        tab.eventually(backplane, json!("Backplane up")).await;
        tab.count_becomes("counter-nodes", 2).await;
        tab.count_becomes("members", 2).await;
        tab.count_becomes("counter-all_connections", 2).await;
    }
    ann.say("hello").await;
    let said = [("Ann", "hello"), ("Bob", "hello, Ann")];
    bob.messages_become(&said[..1]).await;
    bob.say(said[1].1).await;
    bob.messages_become(&said).await;
    ann.messages_become(&said).await;

    redis.kill();
    for tab in [&ann, &bob] {
        tab.eventually(backplane, json!("Backplane down")).await;
        let error = "document.querySelector('#backplane-error').textContent.length > 0";
        tab.eventually(error, json!(true)).await;
    }
    ann.say("still here").await;
    let still_here = ("Ann", "still here");
    ann.messages_become(&[said[0], said[1], still_here]).await;

    redis.restart();
    for tab in [&ann, &bob] {
        tab.eventually(backplane, json!("Backplane up")).await;
    }
    bob.say("back").await;
    ann.messages_become(&[said[0], said[1], still_here, ("Bob", "back")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_published_with_redis_cli_shows_in_tabs_of_two_servers() {
    let redis = servers::RedisServer::start();
    let start = || {
        let mut command = Command::new(example("load_server"));
        let command = command.args(["--listen", "127.0.0.1:0", "--redis", &redis.url()]);
        Chat::start(command.args(["--plain-channel", "chat:in"])).expect("the load server starts")
    };
    let (first, second) = (start(), start());
    let browser = Browser::start().await;
    let ann = browser.open(&format!("http://{}/#tea", first.addr), true).await;
    let bob = browser.open(&format!("http://{}/#tea", second.addr), false).await;
    let backplane = "document.querySelector('#backplane-state').textContent";
    for tab in [&ann, &bob] {
        tab.state_becomes("open").await;
        tab.eventually(backplane, json!("Backplane up")).await;
        tab.count_becomes("members", 2).await;
    }
    for payload in [
        r#"{"room": "tea", "message": {"user": "<b>cron</b>", "text": "It is noon."}}"#,
        r#"{"room": "coffee", "message": {"user": "cron", "text": "not for them"}}"#,
        r#"{"room": "tea", "message": {"user": "cron", "words": "no text"}}"#,
    ] {
        let port = redis.port.to_string();
        let mut command = Command::new("redis-cli");
        let said = command.args(["-p", &port, "PUBLISH", "chat:in", payload]).output();
        assert!(said.expect("redis-cli is on the PATH").status.success());
    }
    for tab in [&ann, &bob] {
        tab.messages_become(&[("<b>cron</b>", "It is noon.")]).await;
        tab.count_becomes("counter-plain_received", 2).await;
        tab.count_becomes("counter-plain_rejected", 1).await;
    }
}
