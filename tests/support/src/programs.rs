//! Child processes of a test. They end with the test, also when the test fails.

use std::env;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The timeout for a program to print its address. The machine may be busy.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// The arguments of a Chromium without a window, which asks its own servers for nothing.
pub const CHROMIUM_ARGUMENTS: [&str; 9] = [
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
];

/// A process that ends when this value is dropped.
pub struct Process(pub Child);

impl Process {
    /// Starts a command, and waits until `find` finds something in a line of its output.
    pub fn start<T: Send + 'static>(
        command: &mut Command,
        find: impl Fn(&str) -> Option<T> + Send + 'static,
    ) -> io::Result<(Self, T)> {
        let mut process = Self(command.stdout(Stdio::piped()).spawn()?);
        let output = process.0.stdout.take().expect("it is piped");
        let (sender, found) = mpsc::channel();
        // Keep reading after the match: a pipe without a reader fails or blocks its writer.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                find(&line).map(|found| sender.send(found));
            }
        });
        match found.recv_timeout(START_DEADLINE) {
            Ok(found) => Ok((process, found)),
            Err(_) => Err(io::Error::other("it did not say where it listens")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running example server, most often the load server.
pub struct Chat {
    pub process: Process,
    pub addr: SocketAddr,
}

impl Chat {
    /// Starts the example with this command.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let (process, addr) = Process::start(command, |line| {
            line.strip_prefix("listening on ")?.split_once("://")?.1.parse().ok()
        })?;
        Ok(Self { process, addr })
    }
}

/// `cargo test --workspace` builds the examples together with the tests, into a folder beside the tests' folder.
pub fn example(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows its path");
    let profile = test.ancestors().nth(2).expect("a test program is in target/<profile>/deps");
    let example = profile.join("examples").join(name);
    assert!(
        example.exists(),
        "{} is missing: `cargo build --workspace --all-features --example {name}` builds it",
        example.display()
    );
    example
}
