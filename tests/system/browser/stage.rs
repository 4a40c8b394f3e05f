//! Shared parts of the tests of the JavaScript client: a page that has the client, and ways to inspect it.

use std::process::Command;

use serde_json::{Value, json};

use crate::driver::{Browser, Tab};
use support::programs::{Chat, example};
use support::servers::Proxy;

/// Starts a client that records its states, its messages, and the number of undecodable messages, for the scripts of
/// the tests.
const HARNESS: &str = r"
    const [address, options, done] = arguments;
    import('/roomcast.js').then(({ Client }) => {
        window.states = [];
        window.messages = [];
        window.undecodable = 0;
        window.client = new Client(address, {
            onstate: state => states.push(state),
            onmessage: message => messages.push(message),
            onundecodable: () => undecodable++,
            ...eval(`(${options})`),
        });
        done();
    });";

/// Options: each connection that opens counts as held, and each random wait is half of its bound.
pub(crate) const STEADY: &str = "{ random: () => 0.5, steadyMs: 0 }";

/// A browser, and a chat that serves the client's file.
pub(crate) struct Stage {
    browser: Browser,
    chat: Chat,
}

impl Stage {
    pub(crate) async fn set(flags: &[&str]) -> Self {
        let mut command = Command::new(example("load_server"));
        let chat = Chat::start(command.args(["--listen", "127.0.0.1:0"]).args(flags));
        Self { chat: chat.expect("the load server starts"), browser: Browser::start().await }
    }

    /// A tab that can import the client.
    pub(crate) async fn tab(&self, is_first: bool) -> Tab<'_> {
        self.browser.open(&format!("http://{}/roomcast.js", self.chat.addr), is_first).await
    }

    /// A tab that reaches the chat through a proxy.
    pub(crate) async fn tab_behind(&self, proxy: &Proxy) -> Tab<'_> {
        self.browser.open(&format!("http://{}/roomcast.js", proxy.addr), true).await
    }

    pub(crate) async fn proxy(&self) -> Proxy {
        Proxy::start(self.chat.addr).await
    }
}

impl Tab<'_> {
    pub(crate) async fn start_client(&self, address: &str, options: &str) {
        self.run_async(HARNESS, vec![json!(address), json!(options)]).await;
    }

    pub(crate) async fn client_is(&self, state: &str) {
        self.eventually("client.state.name", json!(state)).await;
    }
}

/// An expression: how the first connection of the client ended, and the state that followed.
pub(crate) const FATE: &str =
    "(({ name, code, reason, waitMs = null }) => ({ name, code, reason, waitMs }))(
    states.find(state => 'code' in state) ?? {})";

pub(crate) const WAITS: &str =
    "states.filter(({ name }) => name === 'waiting').map(({ waitMs }) => waitMs)";

/// The value of [`FATE`]: with a wait, or closed for good.
pub(crate) fn fate(code: u16, reason: &str, wait_ms: Option<u64>) -> Value {
    let name = if wait_ms.is_some() { "waiting" } else { "closed" };
    json!({ "name": name, "code": code, "reason": reason, "waitMs": wait_ms })
}
