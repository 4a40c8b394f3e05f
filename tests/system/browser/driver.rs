//! Chromium, its driver, and tabs.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fantoccini::wd::{Capabilities, WindowHandle};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use support::programs::{CHROMIUM_ARGUMENTS, Process};

/// The time limit of each step: the timers of a hidden tab fire once a second, and the machine may
/// be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// The time between two checks of a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

const HINT: &str = "run `bash tests/run.sh`, which installs what the tests need";

/// Repeats an attempt until it succeeds or the deadline passes.
pub(crate) fn eventually<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => thread::sleep(LOOK_INTERVAL),
            result => return result,
        }
    }
}

/// A temporary folder; dropping the value deletes the folder.
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
        // A process of the browser may still write into the folder.
        let _ = eventually(|| match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        });
    }
}

/// Chromedriver. It ends together with its browser, and then the folder of both is deleted.
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

    /// Asks the driver to end, and waits until it has ended.
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
        // A driver that does not answer is killed; the browser then ends because the pipe breaks.
        if let Err(error) = self.shut_down() {
            eprintln!("chromedriver does not shut down: {error}");
        }
    }
}

pub(crate) struct Browser {
    client: Client,
    _driver: Driver,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let driver = Driver::start()
            .unwrap_or_else(|error| panic!("chromedriver does not start: {error}; {HINT}"));
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(&driver.folder))
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .unwrap_or_else(|error| panic!("Chromium does not start: {error}; {HINT}"));
        Self { client, _driver: driver }
    }

    /// Opens the page in a new tab; the first page opens in the browser's first tab.
    pub(crate) async fn open(&self, url: &str, is_first: bool) -> Tab<'_> {
        if !is_first {
            let tab = self.client.new_window(true).await.expect("a tab");
            self.client.switch_to_window(tab.handle).await.expect("the connection is open");
        }
        self.client.goto(url).await.expect("the server serves the page");
        Tab {
            client: &self.client,
            handle: self.client.window().await.expect("the connection is open"),
        }
    }
}

fn capabilities(folder: &Folder) -> Capabilities {
    let own = [
        // If the driver is killed, the pipe breaks, and the browser ends.
        "--remote-debugging-pipe",
        &format!("--user-data-dir={}", folder.0.join("profile").display()),
    ];
    let arguments = [&CHROMIUM_ARGUMENTS[..], &own].concat();
    Capabilities::from_iter([("goog:chromeOptions".to_owned(), json!({ "args": arguments }))])
}

/// A tab of the browser.
pub(crate) struct Tab<'a> {
    pub(crate) client: &'a Client,
    handle: WindowHandle,
}

impl Tab<'_> {
    pub(crate) async fn select(&self) {
        self.client.switch_to_window(self.handle.clone()).await.expect("the tab is open");
    }

    /// Runs a script, and returns its result.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.select().await;
        self.client.execute(script, vec![]).await.expect("the script runs")
    }

    /// Runs a script that calls its last argument when it is done.
    pub(crate) async fn run_async(&self, script: &str, arguments: Vec<Value>) {
        self.select().await;
        self.client.execute_async(script, arguments).await.expect("the script runs");
    }

    /// Waits until a JavaScript expression has the expected value.
    pub(crate) async fn eventually(&self, expression: &str, expected: Value) {
        let script = format!("return {expression};");
        let deadline = Instant::now() + DEADLINE;
        loop {
            let value = self.run(&script).await;
            if value == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{expression}\n is {value}\n not {expected}");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}
