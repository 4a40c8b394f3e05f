//! The page of the chat example, as people use it: two tabs of a headless Chromium, driven through
//! `chromedriver`. `bash tests/run.sh` installs both where they are missing.
//!
//! Server, driver and browser are processes of this test, and end with it, also when it fails.

mod programs;
#[cfg(feature = "redis")]
#[expect(dead_code, unused_imports, reason = "the tests of the backplane use more of it")]
mod servers;
#[cfg(feature = "redis")]
#[path = "hub/support.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of the hub use more of it")]
mod support;

use std::env;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fantoccini::wd::{Capabilities, WindowHandle};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use programs::{Chat, Process, example};
use serde_json::{Value, json};

/// How long anything may take: the timers of a hidden tab fire once a second, and the machine may
/// be busy.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often a condition is looked at meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

const HINT: &str = "run `bash tests/run.sh`, which installs what the tests need";

fn start_chat(listen: &str) -> io::Result<Chat> {
    Chat::start(Command::new(example("chat")).args(["--listen", listen]))
}

/// A new server where the old one was.
fn restart_at(addr: SocketAddr) -> Chat {
    eventually(|| start_chat(&addr.to_string())).expect("the port is free again")
}

/// Tries until it works, or until the deadline has passed.
fn eventually<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => thread::sleep(LOOK_INTERVAL),
            result => return result,
        }
    }
}

/// A folder that goes when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("roomcast-browser-{}-{number}", process::id()));
        fs::create_dir(&path).expect("a new folder can be made");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A process of the browser may be writing its last.
        let _ = eventually(|| match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        });
    }
}

/// Chromedriver, which ends together with its browser; then the folder of both can go.
struct Driver {
    port: u16,
    process: Process,
    folder: Folder,
}

impl Driver {
    fn start() -> io::Result<Self> {
        let folder = Folder::create();
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env("TMPDIR", &folder.0);
        let (process, port) = Process::start(&mut command, |line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        })?;
        Ok(Self { port, process, folder })
    }

    /// Asks for the end, and waits for it.
    fn shut_down(&mut self) -> io::Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.write_all(b"GET /shutdown HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        eventually(|| match self.process.0.try_wait()? {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::WouldBlock.into()),
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Without an answer it is killed; its browser then sees the pipe between them break.
        if let Err(error) = self.shut_down() {
            eprintln!("chromedriver does not shut down: {error}");
        }
    }
}

struct Browser {
    client: Client,
    _driver: Driver,
}

impl Browser {
    async fn start() -> Self {
        let driver = Driver::start()
            .unwrap_or_else(|error| panic!("chromedriver does not start: {error}; {HINT}"));
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(&driver.folder))
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .unwrap_or_else(|error| panic!("Chromium does not start: {error}; {HINT}"));
        Self { client, _driver: driver }
    }

    /// Opens the page in a tab of its own, or in the one that the browser has started with.
    async fn open(&self, url: &str, is_first: bool) -> Tab<'_> {
        if !is_first {
            let tab = self.client.new_window(true).await.expect("a tab");
            self.client.switch_to_window(tab.handle).await.expect("it is open");
        }
        self.client.goto(url).await.expect("the server serves the page");
        Tab { client: &self.client, handle: self.client.window().await.expect("it is open") }
    }
}

fn capabilities(folder: &Folder) -> Capabilities {
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        // Containers often have a tiny /dev/shm.
        "--disable-dev-shm-usage",
        // If the driver is killed, the pipe breaks, and the browser ends.
        "--remote-debugging-pipe",
        &format!("--user-data-dir={}", folder.0.join("profile").display()),
    ];
    Capabilities::from_iter([("goog:chromeOptions".to_owned(), json!({ "args": arguments }))])
}

/// A tab with the page.
struct Tab<'a> {
    client: &'a Client,
    handle: WindowHandle,
}

impl Tab<'_> {
    async fn select(&self) {
        self.client.switch_to_window(self.handle.clone()).await.expect("the tab is open");
    }

    async fn fill(&self, field: &str, text: &str) {
        self.select().await;
        let input = self.client.find(Locator::Id(field)).await.expect(field);
        input.clear().await.expect("it can be cleared");
        input.send_keys(text).await.expect("it can be typed into");
    }

    async fn say(&self, text: &str) {
        self.fill("text", text).await;
        let button = self.client.find(Locator::Id("send")).await.expect("a button");
        button.click().await.expect("it can be clicked");
    }

    /// Waits until a JavaScript expression has the value that is expected.
    async fn eventually(&self, expression: &str, expected: Value) {
        self.select().await;
        let script = format!("return {expression};");
        let deadline = Instant::now() + DEADLINE;
        loop {
            let value = self.client.execute(&script, vec![]).await.expect("the script runs");
            if value == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{expression}\n is {value}\n not {expected}");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn state_becomes(&self, state: &str) {
        self.eventually("document.querySelector('#state').dataset.state", json!(state)).await;
    }

    async fn count_becomes(&self, id: &str, count: u32) {
        let expression = format!("document.querySelector('#{id}').dataset.value");
        self.eventually(&expression, json!(count.to_string())).await;
    }

    /// Waits until exactly these messages are shown, each with its user: as text, hence without
    /// elements inside.
    async fn messages_become(&self, expected: &[(&str, &str)]) {
        let shown = "Array.from(document.querySelectorAll('#messages li'), item => \
            ['.user', '.text'].map(part => item.querySelector(part)).map(part => \
            part.childElementCount === 0 ? part.textContent : part.outerHTML))";
        self.eventually(shown, json!(expected)).await;
    }
}

#[tokio::test]
async fn two_tabs_chat_and_come_back_after_a_restart_of_the_server() {
    let server = start_chat("127.0.0.1:0").expect("the chat example starts");
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

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_redis_are_one_chat() {
    let mut redis = servers::RedisServer::start();
    let start = || {
        let mut command = Command::new(example("chat"));
        let command = command.args(["--listen", "127.0.0.1:0", "--redis", &redis.url()]);
        Chat::start(command).expect("the chat example starts")
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
