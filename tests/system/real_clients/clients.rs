//! The clients and their processes.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::folder::Folder;
use support::programs::{CHROMIUM_ARGUMENTS, Process};

/// All kinds of clients, and how they are started.
pub(crate) const KINDS: [(&str, Start); 6] = [
    ("chromium", chromium),
    ("firefox", firefox),
    ("ws", node),
    ("undici", node),
    ("websockets", python),
    ("aiohttp", python),
];

/// Makes the command for a kind of client, the server's address and an empty folder.
type Start = fn(&str, SocketAddr, &Path) -> Command;

/// A client. It ends when this value is dropped, and then its files are deleted.
pub(crate) struct Client {
    _process: Process,
    _folder: Folder,
}

impl Client {
    pub(crate) fn start(kind: &str, start: Start, addr: SocketAddr) -> Self {
        let folder = Folder::new();
        let mut command = start(kind, addr, folder.path());
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let process = process.unwrap_or_else(|error| panic!("{command:?}: {error}; {HINT}"));
        Self { _process: Process(process), _folder: folder }
    }
}

const HINT: &str = "run `bash tests/run.sh`, which installs what the tests need";

/// The folder with the packages of Node.js and Python, in the target folder.
pub(crate) fn clients_folder() -> PathBuf {
    let test = env::current_exe().expect("a test knows its path");
    let target = test.ancestors().nth(3).expect("a test program is in target/<profile>/deps");
    let folder = target.join("real_clients");
    assert!(folder.exists(), "{} is missing; {HINT}", folder.display());
    folder
}

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("real_clients").join(name)
}

fn node(kind: &str, addr: SocketAddr, _: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg(script("node.mjs")).arg(clients_folder()).args([&format!("ws://{addr}"), kind]);
    command
}

fn python(kind: &str, addr: SocketAddr, _: &Path) -> Command {
    let mut command = Command::new(clients_folder().join("venv/bin/python"));
    command.arg(script("member.py")).args([&format!("ws://{addr}"), kind]);
    command
}

fn chromium(kind: &str, addr: SocketAddr, folder: &Path) -> Command {
    let names = ["chromium", "google-chrome"];
    let mut command = Command::new(first_of(&names));
    command
        .args(CHROMIUM_ARGUMENTS)
        .args([&format!("--user-data-dir={}", folder.display()), &page(kind, addr)]);
    // Its messages are about services that a container lacks.
    command.stderr(Stdio::null());
    command
}

/// Firefox asks its own servers for nothing, and shows no page but the test's.
const FIREFOX_SETTINGS: &str = r#"
user_pref("app.normandy.enabled", false);
user_pref("app.update.enabled", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.region.update.enabled", false);
user_pref("browser.safebrowsing.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("dom.push.connection.enabled", false);
user_pref("extensions.update.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "");
user_pref("toolkit.telemetry.enabled", false);
"#;

fn firefox(kind: &str, addr: SocketAddr, folder: &Path) -> Command {
    fs::write(folder.join("user.js"), FIREFOX_SETTINGS).expect("a file");
    let mut command = Command::new(first_of(&["firefox-esr", "firefox"]));
    command.args(["--headless", "--no-remote", "--profile"]).arg(folder).arg(page(kind, addr));
    command.env("HOME", folder).env("TMPDIR", folder).stderr(Stdio::null());
    command
}

fn page(kind: &str, addr: SocketAddr) -> String {
    format!("http://{addr}/page.html?kind={kind}")
}

/// The first of these programs that is on the PATH, or else the first.
fn first_of<'a>(names: &[&'a str]) -> &'a str {
    let path = env::var_os("PATH").unwrap_or_default();
    let exists = |name: &&&str| env::split_paths(&path).any(|folder| folder.join(name).exists());
    names.iter().find(exists).unwrap_or(&names[0])
}
