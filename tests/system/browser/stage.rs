//! What the tests of the client share: a page that has it, and ways to look at it.

use std::process::Command;

use serde_json::{Value, json};

use crate::driver::{Browser, Tab};
use support::programs::{Chat, example};
use support::servers::Proxy;

/// What the scripts of the tests use: a client that notes what it is told, and waits for as long as
/// it may, or not at all.
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

/// A connection that holds at all has held; half of each wait that is drawn.
pub(crate) const STEADY: &str = "{ random: () => 0.5, steadyMs: 0 }";

/// A browser, and the chat that serves the client to it.
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

    /// A tab for which the chat is behind a proxy.
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

/// How the first connection of the client ended, and what came of it.
pub(crate) const FATE: &str =
    "(({ name, code, reason, waitMs = null }) => ({ name, code, reason, waitMs }))(
    states.find(state => 'code' in state) ?? {})";

pub(crate) const WAITS: &str =
    "states.filter(({ name }) => name === 'waiting').map(({ waitMs }) => waitMs)";

/// What [`FATE`] is, with a wait or for good.
pub(crate) fn fate(code: u16, reason: &str, wait_ms: Option<u64>) -> Value {
    let name = if wait_ms.is_some() { "waiting" } else { "closed" };
    json!({ "name": name, "code": code, "reason": reason, "waitMs": wait_ms })
}
