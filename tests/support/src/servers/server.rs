//! One Redis server.

use std::fmt::Write;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{Client, Connection, IntoConnectionInfo, ToRedisArgs, Value};

use super::ports::{PAIR_OFFSET, free_port};
use super::tls::Certificate;
use crate::folder::Folder;
use crate::programs::Process;

/// The number of ports to try: another process may take a free port a moment later.
const PORTS_TRIED: usize = 5;

/// The timeout for a running server to answer a test.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// A Redis server on loopback, which stores nothing on disk. The server ends when this value is dropped.
pub struct RedisServer {
    pub port: u16,
    password: Option<String>,
    /// The connection for commands of the test. It stays open, so it still works when the server accepts no more
    /// clients or has a new password.
    admin: Mutex<Option<Connection>>,
    process: Option<Process>,
    kind: Kind,
    folder: Folder,
}

/// The mode in which the program runs.
#[derive(Clone, Copy)]
enum Kind {
    Server,
    Sentinel,
}

impl RedisServer {
    /// Starts a server. The server answers when this returns, after about 20 ms.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with settings as in `redis.conf`, such as `("maxclients", "10")`.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_on(free_port(), Kind::Server, settings)
    }

    /// Starts a sentinel, with settings as in `sentinel.conf`.
    pub fn start_sentinel(settings: &[(&str, &str)]) -> Self {
        Self::start_on(free_port(), Kind::Sentinel, settings)
    }

    fn start_on(port: u16, kind: Kind, settings: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let path = folder.path().join("redis.conf");
        fs::write(path, configuration(&folder, port, settings)).expect("the folder is ours");
        let password = settings.iter().find(|(name, _)| *name == "requirepass");
        let password = password.map(|(_, password)| (*password).to_owned());
        let server = Self { port, password, admin: Mutex::new(None), process: None, kind, folder };
        server.started()
    }

    /// Starts the server for the first time; on another port if another process has just taken this port.
    fn started(mut self) -> Self {
        for _ in 0..PORTS_TRIED {
            match run(&self.folder, self.kind) {
                Ok(process) => {
                    self.process = Some(process);
                    self.check();
                    return self;
                }
                Err(log) if log.contains("Address already in use") => self.move_to(free_port()),
                Err(log) => panic!("{log}"),
            }
        }
        panic!("no port is free");
    }

    fn move_to(&mut self, port: u16) {
        let path = self.folder.path().join("redis.conf");
        let configuration = fs::read_to_string(&path).expect("it was written");
        // `tls-port` ends like `port`.
        let moved = [(self.port, port), (self.port + PAIR_OFFSET, port + PAIR_OFFSET)]
            .iter()
            .fold(configuration, |text, (old, new)| {
                text.replace(&format!("port {old}\n"), &format!("port {new}\n"))
            });
        fs::write(path, moved).expect("the folder is ours");
        self.port = port;
    }

    fn check(&self) {
        assert_eq!(self.command(&["PING"]), Value::SimpleString("PONG".to_owned()));
    }

    /// Starts a server that also speaks TLS with this certificate, and does not ask clients for a certificate.
    pub fn start_tls(certificate: &Certificate) -> Self {
        Self::start_tls_with(certificate, &[("tls-auth-clients", "no")])
    }

    /// Starts a server that also speaks TLS with this certificate, with more settings.
    pub fn start_tls_with(certificate: &Certificate, settings: &[(&str, &str)]) -> Self {
        Self::start_tls_on(free_port(), Kind::Server, certificate, settings)
    }

    /// Starts a sentinel that also speaks TLS.
    pub fn start_tls_sentinel(certificate: &Certificate, settings: &[(&str, &str)]) -> Self {
        Self::start_tls_on(free_port(), Kind::Sentinel, certificate, settings)
    }

    fn start_tls_on(
        port: u16,
        kind: Kind,
        certificate: &Certificate,
        settings: &[(&str, &str)],
    ) -> Self {
        let path = |path: PathBuf| path.to_str().expect("temporary folders are UTF-8").to_owned();
        let tls_port = (port + PAIR_OFFSET).to_string();
        let [certificate, key] = [certificate.path(), certificate.key_path()].map(path);
        let tls = [
            ("tls-port", tls_port.as_str()),
            ("tls-cert-file", &certificate),
            ("tls-key-file", &key),
        ];
        Self::start_on(port, kind, &[&tls[..], settings].concat())
    }

    /// The URL of a server that speaks TLS.
    pub fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.tls_port())
    }

    pub fn tls_port(&self) -> u16 {
        self.port + PAIR_OFFSET
    }

    /// The URL, without a user or a password.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// The path of a Unix socket, for the setting `unixsocket`: in a folder of its own.
    pub fn socket(folder: &Folder) -> String {
        folder.path().join("redis.sock").to_str().expect("temporary folders are UTF-8").to_owned()
    }

    /// The URL with `user:password`; the user of a `requirepass` is empty.
    pub fn url_as(&self, credentials: &str) -> String {
        format!("redis://{credentials}@{}", self.addr())
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Ends the server at once, as a crash would (`SIGKILL`), and waits for its end.
    pub fn kill(&mut self) {
        *self.admin.get_mut().expect("no command has panicked") = None;
        self.process = None;
    }

    /// Restarts the server on the same port with the same settings. A running server is ended first.
    pub fn restart(&mut self) {
        self.kill();
        self.process = Some(run(&self.folder, self.kind).unwrap_or_else(|log| panic!("{log}")));
        self.check();
    }

    /// Stops the process without ending it (`SIGSTOP`). The system still accepts connections for the server.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Continues the process after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Makes this server a replica of another server, as a failover would. Connections stay open.
    pub fn follow(&self, master: &Self) {
        self.follow_port(master.port);
    }

    pub fn follow_port(&self, port: u16) {
        self.command(&["REPLICAOF", "127.0.0.1", &port.to_string()]);
    }

    /// Makes this server a master.
    pub fn promote(&self) {
        self.command(&["REPLICAOF", "NO", "ONE"]);
    }

    /// Sends a command and returns the answer. Panics on an error.
    pub fn command<A: ToRedisArgs>(&self, words: &[A]) -> Value {
        self.try_command(words).expect("the server accepts the command")
    }

    /// Sends a command and returns the answer or the error.
    pub fn try_command<A: ToRedisArgs>(&self, words: &[A]) -> redis::RedisResult<Value> {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(word);
        });
        let mut admin = self.admin.lock().expect("no command has panicked");
        if let Some(connection) = admin.as_mut() {
            match command.query(connection) {
                // A failover ends connections to the former master.
                Err(error) if error.is_io_error() && !error.is_timeout() => *admin = None,
                answer => return answer,
            }
        }
        command.query(admin.insert(self.connect()?))
    }

    /// A field of `INFO`, such as `connected_clients`.
    pub fn info(&self, field: &str) -> Option<String> {
        field_of(&text(self.command(&["INFO", "everything"])), field)
    }

    fn connect(&self) -> redis::RedisResult<Connection> {
        let info = self.url().into_connection_info()?;
        let info = match &self.password {
            Some(password) => {
                let settings = info.redis_settings().clone().set_password(password);
                info.set_redis_settings(settings)
            }
            None => info,
        };
        let connection = Client::open(info)?.get_connection_with_timeout(ANSWER_DEADLINE)?;
        connection.set_read_timeout(Some(ANSWER_DEADLINE))?;
        Ok(connection)
    }

    fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("the server runs");
        // Every shell has a built-in `kill`; the program `kill` is a package that may be missing.
        let script = format!("kill -{name} {}", process.0.id());
        let status = Command::new("sh").args(["-c", &script]).status().expect("there is a shell");
        assert!(status.success(), "{script}: {status}");
    }
}

fn configuration(folder: &Folder, port: u16, settings: &[(&str, &str)]) -> String {
    let folder = folder.path().display();
    let mut lines =
        format!("port {port}\nbind 127.0.0.1\nsave \"\"\nappendonly no\ndir \"{folder}\"\n");
    for (name, value) in settings {
        writeln!(lines, "{name} {value}").expect("a string takes it");
    }
    lines
}

/// Runs the server with the settings in this folder, until the server reports that it is ready. Otherwise returns the
/// output of the server.
fn run(folder: &Folder, kind: Kind) -> Result<Process, String> {
    let log = Arc::new(Mutex::new(String::new()));
    let lines = log.clone();
    let mut command = Command::new("redis-server");
    command.arg(folder.path().join("redis.conf"));
    let ready = match kind {
        Kind::Server => "Ready to accept connections",
        Kind::Sentinel => {
            command.arg("--sentinel");
            "Sentinel ID is"
        }
    };
    let started = Process::start(&mut command, move |line| {
        *lines.lock().expect("nobody panics here") += &format!("{line}\n");
        line.contains(ready).then_some(())
    });
    match started {
        Ok((process, ())) => Ok(process),
        Err(error) if error.kind() == io::ErrorKind::NotFound => panic!(
            "there is no redis-server on the PATH: install it (on Debian: apt-get install \
             redis-server), or run tests/run.sh, which does"
        ),
        Err(error) => Err(format!("redis-server: {error}\n{}", log.lock().expect("as above"))),
    }
}

/// An answer as text.
pub(crate) fn text(answer: Value) -> String {
    redis::from_redis_value(answer).expect("the answer is text")
}

/// The value of a line `field:value`.
pub(crate) fn field_of(lines: &str, field: &str) -> Option<String> {
    lines.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.to_owned()))
}
